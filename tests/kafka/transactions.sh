#!/usr/bin/env bash
# Has a real broker write topics with transactions (Transactions.java) below
# DATA_DIR/logs, has Kafka's own consumer list them (Reader.java) in OUT_DIR,
# and stops the broker, on every path.
#   transactions.sh DATA_DIR OUT_DIR PORT
# Exit 77: no cache or no java.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/common.sh"
[ $# -eq 3 ] || { echo "usage: transactions.sh DATA_DIR OUT_DIR PORT" >&2; exit 2; }
need_cache
data=$1 out=$2 port=$3
mkdir -p "$data" "$out"
trap '"$here/broker.sh" stop "$data" >/dev/null 2>&1 || true' EXIT

# Compaction and deletion at once, and no retention by the records' old times.
"$here/broker.sh" start "$data" "$port" log.retention.ms=-1 log.cleaner.backoff.ms=50 \
    log.initial.task.delay.ms=100 log.retention.check.interval.ms=200 log.segment.delete.delay.ms=0 >/dev/null
"$here/run.sh" "$here/Transactions.java" "127.0.0.1:$port" "$data/logs"
"$here/run.sh" "$here/Reader.java" "127.0.0.1:$port" "$out"
"$here/broker.sh" stop "$data"

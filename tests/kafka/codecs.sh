#!/usr/bin/env bash
# Has a real broker write the same records in every codec and level, and keys
# that its producer places (Codecs.java), below DATA_DIR/logs, has Kafka's own
# consumer list them (Reader.java) in OUT_DIR, and stops the broker, on every
# path.
#   codecs.sh DATA_DIR OUT_DIR PORT
# Exit 77: no cache or no java.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/common.sh"
[ $# -eq 3 ] || { echo "usage: codecs.sh DATA_DIR OUT_DIR PORT" >&2; exit 2; }
need_cache
data=$1 out=$2 port=$3
mkdir -p "$data" "$out"
trap '"$here/broker.sh" stop "$data" >/dev/null 2>&1 || true' EXIT

"$here/broker.sh" start "$data" "$port" log.retention.ms=-1 >/dev/null
"$here/run.sh" "$here/Codecs.java" "127.0.0.1:$port"
"$here/run.sh" "$here/Reader.java" "127.0.0.1:$port" "$out"
"$here/broker.sh" stop "$data"

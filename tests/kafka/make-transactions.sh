#!/usr/bin/env bash
# Makes tests/fixtures/kafka-<version>-transactions/ anew with a real broker:
# partitions with transactions, and what Kafka's own consumer reads in them.
#   make-transactions.sh [OUT_DIR [PORT]]
# Exit 77: no cache or no java. A broker that nobody else stops is stopped.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/common.sh"
need_cache
out=${1:-$here/../fixtures/kafka-$KAFKA_VERSION-transactions}
port=${2:-29092}
server=127.0.0.1:$port
work=$(mktemp -d)
finish() {
    "$here/broker.sh" stop "$work/data" >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap finish EXIT

mkdir -p "$work/data" "$work/out"
# Compaction and deletion at once, and no retention by the records' old times.
"$here/broker.sh" start "$work/data" "$port" log.retention.ms=-1 log.cleaner.backoff.ms=50 \
    log.initial.task.delay.ms=100 log.retention.check.interval.ms=200 log.segment.delete.delay.ms=0 >/dev/null
"$here/run.sh" "$here/Transactions.java" "$server" "$work/data/logs"
"$here/run.sh" "$here/Reader.java" "$server" "$work/out"
"$here/broker.sh" stop "$work/data"

for dir in "$work"/data/logs/*-[0-9]*; do
    case ${dir##*/} in
    __consumer_offsets-*) [ -n "$(find "$dir" -name '*.log' -size +0)" ] || continue ;;
    __*) continue ;;
    esac
    mkdir "$work/out/${dir##*/}"
    # What else is there has no part in reading, and the other fixture has it.
    cp "$dir"/*.log "$dir"/*.index "$dir"/*.timeindex "$work/out/${dir##*/}/"
    if compgen -G "$dir/*.txnindex" >/dev/null; then cp "$dir"/*.txnindex "$work/out/${dir##*/}/"; fi
done
mkdir -p "$out"
if [ -f "$out/HOW.md" ]; then cp "$out/HOW.md" "$work/out/"; fi
# Bytes, not text: no line-end conversion.
echo '* -text' >"$work/out/.gitattributes"
rm -rf "${out:?}"
cp -r "$work/out" "$out"
(cd "$out" && pwd)

#!/usr/bin/env bash
# Makes tests/fixtures/kafka-<version>/ anew with a real broker.
#   make-fixtures.sh [OUT_DIR [PORT]]
# Exit 77: no cache or no java.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/common.sh"
need_cache
out=${1:-$here/../fixtures/kafka-$KAFKA_VERSION}
port=${2:-29092}
server=127.0.0.1:$port
run=$here/run.sh
work=$(mktemp -d)
finish() {
    "$here/broker.sh" stop "$work/data" >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap finish EXIT
topic() { # NAME PARTITIONS [KEY=VALUE...]
    local name=$1 partitions=$2 setting config=()
    shift 2
    for setting in "$@"; do config+=(--config "$setting"); done
    "$run" org.apache.kafka.tools.TopicCommand --bootstrap-server "$server" --create \
        --topic "$name" --partitions "$partitions" --replication-factor 1 "${config[@]}"
}
consume() { # GROUP COUNT [ARGS...]: auto-commits when it closes
    local group=$1 count=$2
    shift 2
    "$run" org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server "$server" \
        --topic orders --group "$group" --from-beginning --max-messages "$count" \
        --timeout-ms 30000 "$@" >"$work/consumed"
    [ "$(wc -l <"$work/consumed")" -eq "$count" ] || { echo "$group consumed too few" >&2; exit 1; }
}

mkdir -p "$work/data"
# The timestamps are old: keep the retention thread away.
"$here/broker.sh" start "$work/data" "$port" log.retention.ms=-1
topic orders 2 index.interval.bytes=1024
for codec in gzip snappy lz4 zstd; do topic "orders-$codec" 2; done
topic shapes 1
topic stamped 1 message.timestamp.type=LogAppendTime
topic rolled 1 segment.ms=60000
topic txns 1
mkdir "$work/out"
"$run" "$here/Fixture.java" "$server" "$work/out" produce
consume billing 64
consume audit 20
consume new-protocol 64 --command-property group.protocol=consumer
"$run" "$here/Fixture.java" "$server" "$work/out" commit
"$run" "$here/Fixture.java" "$server" "$work/out" list
"$here/broker.sh" stop "$work/data"

# After the clean stop: the index files of the active segments are trimmed.
for dir in "$work"/data/logs/*-[0-9]*; do
    name=${dir##*/}
    case $name in
    __cluster_metadata-*) continue ;;
    __*) # an internal partition: only where something was written
        [ -n "$(find "$dir" -name '*.log' -size +0)" ] || continue ;;
    esac
    cp -r "$dir" "$work/out/$name"
done
for file in recovery-point-offset-checkpoint replication-offset-checkpoint \
    log-start-offset-checkpoint; do
    if [ -f "$work/data/logs/$file" ]; then cp "$work/data/logs/$file" "$work/out/"; fi
done
mkdir -p "$out"
if [ -f "$out/HOW.md" ]; then cp "$out/HOW.md" "$work/out/"; fi
# Bytes, not text: no line-end conversion.
echo '* -text' >"$work/out/.gitattributes"
rm -rf "${out:?}"
cp -r "$work/out" "$out"
(cd "$out" && pwd)

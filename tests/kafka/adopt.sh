#!/usr/bin/env bash
# Starts a broker whose partitions hold the bytes of the NAME-N directories
# below LOGS, so that Kafka's own clients can read them.
#   adopt.sh LOGS DATA_DIR PORT [KEY=VALUE...]      (stop: broker.sh stop DATA_DIR)
# A fresh broker makes the topics, stops, gets the files in place of its own and
# starts again. Everything but partition.metadata (the topic's id is the
# broker's to give) is taken over. THALWEG_KAFKA_RECOVER=1 removes the mark of
# the clean stop, so that the broker recovers every segment.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/common.sh"
[ $# -ge 3 ] || { echo "usage: adopt.sh LOGS DATA_DIR PORT [KEY=VALUE...]" >&2; exit 2; }
need_cache
logs=$1 data=$2 port=$3
shift 3
[ ! -e "$data/logs" ] || { echo "adopt.sh: $data is not new" >&2; exit 2; }
server=127.0.0.1:$port

declare -A partitions=()
for dir in "$logs"/*-[0-9]*/; do
    name=$(basename "$dir")
    topic=${name%-*} number=${name##*-}
    compgen -G "$dir*.log" >/dev/null || continue
    if [ "$number" -ge "${partitions[$topic]:-0}" ]; then partitions[$topic]=$((number + 1)); fi
done
"$here/broker.sh" start "$data" "$port" log.retention.ms=-1 "$@" >/dev/null
for topic in "${!partitions[@]}"; do
    config=()
    count=${partitions[$topic]}
    case $topic in
    __consumer_offsets) # the group coordinator looks for a group in hash % 50
        count=50
        config=(--config cleanup.policy=compact) ;;
    __*) continue ;;
    esac
    "$here/run.sh" org.apache.kafka.tools.TopicCommand --bootstrap-server "$server" --create \
        --topic "$topic" --partitions "$count" --replication-factor 1 "${config[@]}" >/dev/null
done
"$here/broker.sh" stop "$data"
for dir in "$logs"/*-[0-9]*/; do
    own=$data/logs/$(basename "$dir")
    [ -d "$own" ] || continue
    find "$own" -type f ! -name partition.metadata -delete
    for file in "$dir"*; do
        case ${file##*/} in
        partition.metadata) ;;
        *) if [ -f "$file" ]; then cp "$file" "$own/"; fi ;;
        esac
    done
done
# What these say is about the empty partitions.
rm -f "$data"/logs/{recovery-point-offset-checkpoint,replication-offset-checkpoint,log-start-offset-checkpoint}
[ "${THALWEG_KAFKA_RECOVER:-0}" = 0 ] || rm -f "$data/logs/.kafka_cleanshutdown"
"$here/broker.sh" start "$data" "$port" log.retention.ms=-1 "$@"

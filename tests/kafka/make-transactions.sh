#!/usr/bin/env bash
# Makes tests/fixtures/kafka-<version>-transactions/ anew with a real broker:
# partitions with transactions, and what Kafka's own consumer reads in them.
#   make-transactions.sh [OUT_DIR [PORT]]
# Exit 77: no cache or no java.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/common.sh"
out=${1:-$here/../fixtures/kafka-$KAFKA_VERSION-transactions}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$here/transactions.sh" "$work/data" "$work/out" "${2:-29092}"

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

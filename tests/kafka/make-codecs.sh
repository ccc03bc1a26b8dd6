#!/usr/bin/env bash
# Makes tests/fixtures/kafka-<version>-codecs/ anew with a real broker:
# partitions in every codec and level, and where Kafka's producer put keys.
#   make-codecs.sh [OUT_DIR [PORT]]
# Exit 77: no cache or no java.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/common.sh"
out=${1:-$here/../fixtures/kafka-$KAFKA_VERSION-codecs}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$here/codecs.sh" "$work/data" "$work/out" "${2:-29092}"

mkdir "$work/fixture"
for dir in "$work"/data/logs/*-[0-9]*; do
    case ${dir##*/} in
    __* | keys-*) continue ;;
    esac
    mkdir "$work/fixture/${dir##*/}"
    # What else is there has no part in reading, and the other fixture has it.
    cp "$dir"/*.log "$dir"/*.index "$dir"/*.timeindex "$work/fixture/${dir##*/}/"
    case ${dir##*/} in
    idempotent-*) cp "$dir"/*.snapshot "$work/fixture/${dir##*/}/" ;;
    esac
done
{
    printf '#partition\tkey\n'
    grep -P '^keys\t' "$work/out/read_uncommitted.tsv" | cut -f 2,4
} >"$work/fixture/places.tsv"
mkdir -p "$out"
if [ -f "$out/HOW.md" ]; then cp "$out/HOW.md" "$work/fixture/"; fi
# Bytes, not text: no line-end conversion.
echo '* -text' >"$work/fixture/.gitattributes"
rm -rf "${out:?}"
cp -r "$work/fixture" "$out"
(cd "$out" && pwd)

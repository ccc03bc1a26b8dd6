#!/usr/bin/env bash
# Has Kafka's own dump tool read every file of the partition directories given
# (or of all NAME-N directories directly below a folder).
#   check.sh [--gaps] DIR...
# The tool itself exits 0 on most damage, so what it prints decides here.
# --gaps accepts missing offsets, as compaction leaves them.
# Exit 0: nothing to object; 1: what was found is on stdout; 77: no cache.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/common.sh"
gaps=no
if [ "${1:-}" = --gaps ]; then
    gaps=yes
    shift
fi
[ $# -ge 1 ] || { echo "usage: check.sh [--gaps] DIR..." >&2; exit 2; }
need_cache

dirs=()
for dir in "$@"; do
    [ -d "$dir" ] || { echo "check.sh: no folder $dir" >&2; exit 2; }
    if compgen -G "$dir/*.log" >/dev/null; then
        dirs+=("$dir")
        continue
    fi
    for sub in "$dir"/*-[0-9]*/; do
        if compgen -G "$sub*.log" >/dev/null; then dirs+=("${sub%/}"); fi
    done
done
[ ${#dirs[@]} -gt 0 ] || { echo "check.sh: no segment below $*" >&2; exit 2; }

logs=() offsets=() indexes=() others=()
for dir in "${dirs[@]}"; do
    case $(basename "$(cd "$dir" && pwd)") in
    __consumer_offsets-*) offsets+=("$dir"/*.log) ;;
    *) logs+=("$dir"/*.log) ;;
    esac
    for file in "$dir"/*.index "$dir"/*.timeindex; do
        if [ -s "$file" ]; then indexes+=("$file"); fi
    done
    for file in "$dir"/*.txnindex "$dir"/*.snapshot; do
        if [ -s "$file" ]; then others+=("$file"); fi
    done
done

failed=0
# Prose of the tool that means damage; record lines (they start with '|') can hold anything.
damage='isvalid: false|invalid bytes at the end|^Mismatches in|^  Index (offset|timestamp):'
damage+='|^Found (timestamp mismatch|out of order)|^The following indexed offsets'
damage+='|^Indexed offset:|[Cc]orrupt|^Exception in thread|^Caused by:|Exception:|^Index timestamp:'
[ $gaps = yes ] || damage+='|^Non-consecutive offsets|^  [0-9]+ is followed by'
# A __consumer_offsets key or value that Kafka cannot read.
unknown='headerKeys: \[[^]]*\] key: (Unknown record type|Error at offset)'
dump() { # PATTERN FLAGS -- FILES...: one JVM for all files
    local pattern=$1 flags=() out rc=0
    shift
    while [ "$1" != -- ]; do flags+=("$1"); shift; done
    shift
    [ $# -gt 0 ] || return 0
    out=$("$here/run.sh" kafka.tools.DumpLogSegments "${flags[@]}" --files "$(IFS=,; echo "$*")" 2>&1 |
        tr -d "\000") || rc=$?
    local found
    found=$(grep -E '^Dumping ' -v <<<"$out" | grep -v '^| ' | grep -E "$damage" || true)
    if [ -n "$pattern" ]; then
        found+=$(grep -E "$pattern" <<<"$out" || true)
    fi
    if [ $rc -ne 0 ] || [ -n "$found" ]; then
        failed=1
        echo "DumpLogSegments ${flags[*]} (exit $rc):"
        if [ -n "$found" ]; then echo "$found"; else tail -5 <<<"$out"; fi
    fi
    batches=$((${batches:-0} + $(grep -c '^baseOffset: .* isvalid: true' <<<"$out" || true)))
    records=$((${records:-0} + $(grep -c '^| offset: ' <<<"$out" || true)))
}
dump '' --deep-iteration --print-data-log -- "${logs[@]}"
dump "$unknown" --offsets-decoder -- "${offsets[@]}"
dump '' --index-sanity-check -- "${indexes[@]}"
dump '' --verify-index-only -- "${indexes[@]}"
dump '' -- "${others[@]}"
echo "checked ${#dirs[@]} partitions, $batches batches, $records records, ${#indexes[@]} indexes"
exit $failed

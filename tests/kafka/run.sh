#!/usr/bin/env bash
# Runs one of Kafka's classes (or a .java source file) with the cached jars.
#   run.sh CLASS [ARGS...]
# THALWEG_KAFKA_LOG sets the log level (default error), THALWEG_KAFKA_OPTS adds
# JVM flags. Exit 77: no cache or no java.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
[ $# -ge 1 ] || { echo "usage: run.sh CLASS [ARGS...]" >&2; exit 2; }
need_cache
# shellcheck disable=SC2086
exec java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto \
    -Dorg.slf4j.simpleLogger.defaultLogLevel="${THALWEG_KAFKA_LOG:-error}" \
    -Dlog4j2.disable.jmx=true ${THALWEG_KAFKA_OPTS:-} \
    -cp "$KAFKA_CACHE/libs/*" "$@"

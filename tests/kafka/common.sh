# Sourced by the scripts beside it: the pinned version and where its jars live.
KAFKA_VERSION=${THALWEG_KAFKA_VERSION:-4.2.1}
KAFKA_SCALA=2.13

skip() { # one line on stderr, and the exit status that means "cannot run here"
    echo "skip: $*" >&2
    exit 77
}

kafka_cache() { # prints the cache folder
    if [ -n "${THALWEG_KAFKA_CACHE:-}" ]; then
        printf '%s\n' "$THALWEG_KAFKA_CACHE"
        return
    fi
    local base=${XDG_CACHE_HOME:-}
    [ -n "$base" ] || base=${HOME:?neither XDG_CACHE_HOME nor HOME is set}/.cache
    printf '%s\n' "$base/thalweg-kafka/$KAFKA_VERSION"
}

need_java() {
    command -v java >/dev/null 2>&1 || skip "no java (17 or newer) on PATH"
    local major
    major=$(java -XshowSettings:properties -version 2>&1 |
        sed -n 's/^ *java\.specification\.version = //p')
    case $major in
    1.* | '') skip "java is older than 17 (${major:-unknown})" ;;
    esac
    [ "$major" -ge 17 ] || skip "java is older than 17 ($major)"
}

need_cache() { # sets KAFKA_CACHE
    KAFKA_CACHE=$(kafka_cache)
    [ -f "$KAFKA_CACHE/.complete" ] ||
        skip "no Kafka $KAFKA_VERSION jars in the cache: run tests/kafka/fetch.sh"
    command -v java >/dev/null 2>&1 || skip "no java (17 or newer) on PATH"
}

#!/usr/bin/env bash
# A single-node KRaft broker on 127.0.0.1.
#   broker.sh start DATA_DIR PORT [KEY=VALUE...]   (the controller takes PORT+1)
#   broker.sh stop DATA_DIR
# Partition directories are in DATA_DIR/logs, its own log is DATA_DIR/broker.out.
# KEY=VALUE are extra broker settings. A broker nobody stops ends by itself
# after THALWEG_KAFKA_TTL seconds (default 1800). Exit 77: no cache or no java.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/common.sh"

usage() {
    echo "usage: broker.sh start DATA_DIR PORT [KEY=VALUE...] | stop DATA_DIR" >&2
    exit 2
}

running() { # DATA_DIR: is the process of the pid file this folder's broker?
    local pid
    pid=$(cat "$1/broker.pid" 2>/dev/null) || return 1
    { tr '\0' '\n' <"/proc/$pid/cmdline"; } 2>/dev/null | grep -qxF "$1/server.properties"
}

start() {
    [ $# -ge 2 ] || usage
    local data=$1 port=$2 setting tool
    shift 2
    need_cache
    for tool in setsid timeout; do
        command -v "$tool" >/dev/null 2>&1 || skip "no $tool on PATH"
    done
    mkdir -p "$data"
    data=$(cd "$data" && pwd)
    if running "$data"; then
        echo "broker.sh: already running in $data" >&2
        exit 1
    fi
    cat >"$data/server.properties" <<CONF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$((port + 1))
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1))
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs=$data/logs
num.network.threads=2
num.io.threads=2
auto.create.topics.enable=false
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
CONF
    for setting in "$@"; do echo "$setting" >>"$data/server.properties"; done
    if [ ! -f "$data/logs/meta.properties" ]; then
        "$here/run.sh" kafka.tools.StorageTool format \
            --cluster-id dGhhbHdlZy1vcmFjbGUtMQ \
            --config "$data/server.properties" >"$data/format.out" 2>&1 ||
            { cat "$data/format.out" >&2; exit 1; }
    fi
    setsid timeout -k 30 "${THALWEG_KAFKA_TTL:-1800}" \
        java -Xms128m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto \
        -Dorg.slf4j.simpleLogger.defaultLogLevel="${THALWEG_KAFKA_LOG:-info}" \
        -Dorg.slf4j.simpleLogger.showDateTime=true \
        -Dlog4j2.disable.jmx=true \
        -cp "$KAFKA_CACHE/libs/*" kafka.Kafka "$data/server.properties" \
        </dev/null >"$data/broker.out" 2>&1 &
    echo $! >"$data/broker.pid"
    local waited=0
    while :; do
        if ! running "$data" && [ "$waited" -gt 5 ]; then
            echo "broker.sh: the broker ended while starting" >&2
            tail -20 "$data/broker.out" >&2
            exit 1
        fi
        # It answers: the port is open, and an API request is served.
        if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null &&
            timeout 30 "$here/run.sh" org.apache.kafka.tools.BrokerApiVersionsCommand \
                --bootstrap-server "127.0.0.1:$port" >/dev/null 2>&1; then
            break
        fi
        waited=$((waited + 1))
        if [ "$waited" -gt 300 ]; then
            echo "broker.sh: no answer from 127.0.0.1:$port" >&2
            tail -20 "$data/broker.out" >&2
            stop "$data" || true
            exit 1
        fi
        sleep 0.2
    done
    echo "127.0.0.1:$port"
}

stop() {
    [ $# -eq 1 ] || usage
    local data pid waited=0
    data=$(cd "$1" && pwd)
    running "$data" || { rm -f "$data/broker.pid"; return 0; }
    pid=$(cat "$data/broker.pid")
    kill -TERM "$pid"
    while running "$data"; do
        waited=$((waited + 1))
        if [ "$waited" -gt 300 ]; then
            echo "broker.sh: did not stop within a minute, killed: the logs are not clean" >&2
            kill -KILL -- "-$pid" || true
            rm -f "$data/broker.pid"
            exit 1
        fi
        sleep 0.2
    done
    rm -f "$data/broker.pid"
    # A clean stop leaves this marker; without it the next start recovers.
    [ -f "$data/logs/.kafka_cleanshutdown" ] || {
        echo "broker.sh: stopped, but not cleanly" >&2
        exit 1
    }
}

[ $# -ge 1 ] || usage
verb=$1
shift
case $verb in
start) start "$@" ;;
stop) stop "$@" ;;
*) usage ;;
esac

#!/usr/bin/env bash
# Fetches Apache Kafka's jars into a cache folder outside the tree.
#   fetch.sh [CACHE_DIR]
# The last line printed is the folder. Does nothing when it is already filled.
# Exit 77: no java, no mvn, or the artifacts cannot be reached.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

cache=${1:-$(kafka_cache)}
need_java
if [ -f "$cache/.complete" ] && [ "$(cat "$cache/.complete")" = "$KAFKA_VERSION" ]; then
    (cd "$cache" && pwd)
    exit 0
fi
command -v mvn >/dev/null 2>&1 || skip "no mvn on PATH"

mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
work=$(mktemp -d "$cache/.fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT

# Connect comes with kafka-tools but nothing here uses it: a third of the jars.
cat >"$work/pom.xml" <<POM
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>thalweg</groupId>
  <artifactId>kafka-oracle</artifactId>
  <version>0</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_$KAFKA_SCALA</artifactId>
      <version>$KAFKA_VERSION</version>
    </dependency>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka-tools</artifactId>
      <version>$KAFKA_VERSION</version>
      <exclusions>
        <exclusion><groupId>org.apache.kafka</groupId><artifactId>connect-api</artifactId></exclusion>
        <exclusion><groupId>org.apache.kafka</groupId><artifactId>connect-json</artifactId></exclusion>
        <exclusion><groupId>org.apache.kafka</groupId><artifactId>connect-runtime</artifactId></exclusion>
        <exclusion><groupId>org.apache.kafka</groupId><artifactId>connect-transforms</artifactId></exclusion>
      </exclusions>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId>
      <artifactId>slf4j-simple</artifactId>
      <version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
POM

if ! mvn -B -ntp -f "$work/pom.xml" \
    org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$work/libs" >"$work/mvn.out" 2>&1; then
    if grep -qE 'Could not (transfer|resolve|find)|Unknown host|ArtifactNotFound|ArtifactResolution|PluginResolution|offline mode' \
        "$work/mvn.out"; then
        skip "Maven cannot reach Kafka $KAFKA_VERSION's artifacts (no network?)"
    fi
    grep -F '[ERROR]' "$work/mvn.out" | head -20 >&2
    exit 1
fi

rm -rf "$cache/libs"
mv "$work/libs" "$cache/libs"
echo "$KAFKA_VERSION" >"$work/complete"
mv "$work/complete" "$cache/.complete"
echo "$cache"

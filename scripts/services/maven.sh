# Jars from Maven Central, with all that they depend on.

# Kafka and its tools log through slf4j 1.7; this is log4j's binding for it.
LOG4J_VERSION=2.24.3
MAVEN_COPY=org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies

# maven_fetch FOLDER LOG GROUP:ARTIFACT:VERSION...    A folder that is there is complete.
maven_fetch() {
    local folder=$1 log=$2
    shift 2
    local part=$folder.part
    rm -rf "$part"
    mkdir -p "$part" "$(dirname "$log")"
    maven_pom "$@" "org.apache.logging.log4j:log4j-slf4j-impl:$LOG4J_VERSION" >"$part/pom.xml"
    mvn -q -B -f "$part/pom.xml" "$MAVEN_COPY" -DincludeScope=runtime \
        -DoutputDirectory="$part" >"$log" 2>&1 || return 1
    mv "$part" "$folder"
}

maven_pom() {
    cat <<POM
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>projectionist</groupId>
  <artifactId>jars</artifactId>
  <version>1</version>
  <dependencies>
POM
    local jar group artifact version
    for jar in "$@"; do
        IFS=: read -r group artifact version <<<"$jar"
        cat <<POM
    <dependency>
      <groupId>$group</groupId>
      <artifactId>$artifact</artifactId>
      <version>$version</version>
    </dependency>
POM
    done
    cat <<POM
  </dependencies>
</project>
POM
}

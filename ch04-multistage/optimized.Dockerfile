# The same program as in Dockerfile, in an image that is about half as big and starts in less than half the
# time. Seven stages, each does one thing. Read Dockerfile first: the builder is the same.
#
# The trick behind the order: Docker compares what a COPY brings, not when or where it was made. So a stage
# that ends in a small file (a list of modules, a list of classes) stops a change: when the list comes out
# the same as last time, everything made from it is still in the cache.

# --- builder: from source code to one jar file (see Dockerfile) ------------------------------------
FROM maven:3.9-eclipse-temurin-25 AS builder
WORKDIR /usr/src/iotd
ENV MAVEN_OPTS="-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
COPY pom.xml .
RUN --mount=type=cache,target=/var/cache/m2,sharing=locked \
    mvn -B -ntp -Dmaven.repo.local=/var/cache/m2 dependency:go-offline \
    && mkdir -p /root/.m2/repository && cp -R /var/cache/m2/. /root/.m2/repository
COPY . .
RUN --mount=type=cache,target=/var/cache/java,sharing=locked \
    MAVEN_OPTS="$MAVEN_OPTS -XX:+AutoCreateSharedArchive -XX:SharedArchiveFile=/var/cache/java/maven.jsa -Xlog:disable" \
    mvn -B -ntp -o package

# --- layers: the jar unpacked into what changes seldom (20 MB of libraries) and what changes often ---
FROM builder AS layers
RUN java -Djarmode=tools -jar target/iotd-service-0.1.0.jar extract --layers --destination /layers

# --- modules: the list of the JDK's modules that program and libraries use -------------------------
FROM layers AS modules
# Libraries mention others that they can do without, and that are not here: --ignore-missing-deps.
RUN jdeps --ignore-missing-deps --recursive --multi-release 25 --print-module-deps -q \
      --class-path "/layers/dependencies/lib/*" /layers/application/*.jar > /modules.txt

# --- runtime: a Java of these modules only, and the system's libraries that it needs ----------------
# Not FROM modules: it would be made again after each change. From there comes only the list.
FROM maven:3.9-eclipse-temurin-25 AS runtime
COPY --from=modules /modules.txt /
RUN <<LINK
set -eu
jlink --add-modules "$(cat /modules.txt)" --strip-java-debug-attributes --no-header-files --no-man-pages \
      --compress zip-6 --output /opt/runtime
# The certificate authorities of the base image, among them those that its maker added (a company's, say).
cp --dereference --remove-destination "$JAVA_HOME/lib/security/cacerts" /opt/runtime/lib/security/
# /rootfs becomes the root of the final image: the libraries that ldd lists for Java, at the paths where it
# looks for them; the file that says where host names are looked up; a /tmp that all may write to.
mkdir /rootfs
libraries="$(find /opt/runtime -name '*.so' -exec ldd /opt/runtime/bin/java {} + | grep -o '[[:space:]]/lib[^ ]*' | sort -u)"
# shellcheck disable=SC2086 # one word for each library
cp --parents --dereference $libraries /etc/nsswitch.conf /rootfs
mkdir -m 1777 /rootfs/tmp
LINK

# --- training: the list of the classes that the program loads when it starts and answers ------------
FROM runtime AS training
COPY --from=layers /layers/dependencies/ /layers/application/ /app/
WORKDIR /app
# There is no NASA here, so the program learns from a refusal. kill -9, and no background work: what is left
# of a run is the same each time, and so the list is. kill -0 kills nothing: it fails once the program is gone.
# The program's own classes (iotd/) are left out of the list: they are what changes.
RUN <<TRAIN
set -eu
export PATH="/opt/runtime/bin:$PATH" APOD_URL=http://localhost:1/ SERVER_TOMCAT_BACKGROUND_PROCESSOR_DELAY=1h
java -Xshare:off -XX:DumpLoadedClassList=/tmp/loaded -cp "$(printf '%s:' lib/*.jar)iotd-service-0.1.0.jar" \
     iotd.IotdApplication &
health="java -cp iotd-service-0.1.0.jar iotd.HealthCheck"
timeout 300 sh -ec "until $health; do kill -0 $! 2> /dev/null; sleep 0.2; done"
$health http://localhost/image || true
$health
kill -9 $!
grep -v -e iotd/ -e '^#' -e '^@cp' -e ' source: ' /tmp/loaded | sed 's/ id: .*//' | sort -u > /classes.txt
TRAIN

# --- archive: those classes, parsed and checked now instead of at each start ------------------------
FROM runtime AS archive
COPY --from=layers /layers/dependencies/ /app/
COPY --from=training /classes.txt /
WORKDIR /app
# The archive is good only for the class path that it was made with (more may follow at the end, so the
# program's own jar does), and for jars with the same time and size. Otherwise Java ignores it, without a
# word. So the final image takes the options, the jars and the archive from here, together.
RUN <<DUMP
set -eu
path="$(printf '%s:' /app/lib/*.jar)"
# For a service with little to do: a garbage collector without threads of its own, and only the quick
# one of Java's two compilers.
cat > java.options <<OPTIONS
-XX:SharedArchiveFile=/app/classes.jsa
-XX:+UseSerialGC
-XX:TieredStopAtLevel=1
-XX:+ExitOnOutOfMemoryError
-cp ${path}/app/iotd-service-0.1.0.jar
OPTIONS
/opt/runtime/bin/java -Xshare:dump -XX:SharedClassListFile=/classes.txt -XX:SharedArchiveFile=classes.jsa \
                      -XX:+UseSerialGC -cp "${path%:}" -Xlog:disable -Xlog:all=error
DUMP

# --- app: an empty file system, and what the other stages made --------------------------------------
FROM scratch
# From what changes least to what changes most. After a changed line only the last layer is new.
COPY --from=runtime /rootfs /
COPY --from=runtime /opt/runtime /opt/runtime
COPY --from=archive /app /app
COPY --from=layers /layers/application/ /app/
# Without a locale Java takes every character beyond ASCII for a question mark.
ENV PATH="/opt/runtime/bin" LANG="C.UTF-8"
WORKDIR /tmp
EXPOSE 80
# There is no /etc/passwd here to look a name up in, so it is a number.
USER 10001:10001
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --start-interval=2s \
  CMD ["java", "-Xmx16m", "@/app/java.options", "iotd.HealthCheck"]
# @: read options from a file. There is no shell here that could set a variable.
ENTRYPOINT ["java", "@/app/java.options", "iotd.IotdApplication"]

# What people did before there were stages: one image that builds the program and then runs it.
# It works. Compare its size, what else is in it, and how long a changed line takes, with Dockerfile.

# Maven and the JDK (Java's compiler and tools). Both are here to stay: there is no other stage to leave for.
FROM maven:3.9-eclipse-temurin-25
WORKDIR /usr/src/iotd

# Everything at once. So Docker takes any changed file for a reason to do all below again,
COPY . .
# and that includes downloading every library: they all end up in this image, in /root/.m2.
RUN mvn -B -ntp package

EXPOSE 80
# A number instead of a name, because the base image has no user for programs. Without this line: root.
USER 10001:10001
# The JDK checks whether the service is ready (HealthCheck.java): no curl needed.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --start-interval=2s \
  CMD ["java", "-Xmx16m", "-cp", "/usr/src/iotd/target/classes", "iotd.HealthCheck"]
ENTRYPOINT ["java", "-jar", "/usr/src/iotd/target/iotd-service-0.1.0.jar"]

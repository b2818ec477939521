# Try:     docker run --rm mistake sh -c "which javac mvn || echo neither"
# Says:    neither
FROM maven:3.9-eclipse-temurin-25 AS builder
WORKDIR /build
COPY Hello.java .
RUN javac Hello.java

FROM eclipse-temurin:25-jre
WORKDIR /app
COPY --from=builder /build/Hello.class .
USER nobody
CMD ["java", "Hello"]

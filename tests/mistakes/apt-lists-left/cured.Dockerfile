# Says:    none
FROM debian:trixie-slim
RUN apt-get update && apt-get install -y --no-install-recommends tini && rm -rf /var/lib/apt/lists/*
USER nobody
ENTRYPOINT ["tini", "--"]
CMD ["echo", "hello"]

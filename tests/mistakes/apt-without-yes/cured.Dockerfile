# Says:    PID TTY
FROM debian:trixie-slim
RUN apt-get update && apt-get install -y --no-install-recommends procps && rm -rf /var/lib/apt/lists/*
USER nobody
CMD ["ps"]

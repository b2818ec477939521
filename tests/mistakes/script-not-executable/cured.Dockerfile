# Says:    started
FROM debian:trixie-slim
COPY --chmod=755 start /start
USER nobody
ENTRYPOINT ["/start"]

# Says:    started
FROM debian:trixie-slim AS unix
COPY start /windows
RUN tr -d '\r' < /windows > /start

FROM debian:trixie-slim
COPY --from=unix --chmod=755 /start /start
USER nobody
ENTRYPOINT ["/start"]

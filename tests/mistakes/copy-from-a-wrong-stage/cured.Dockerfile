# Says:    hello
FROM debian:trixie-slim AS settings
RUN echo on > /settings

FROM debian:trixie-slim AS builder
RUN echo hello > /app

FROM debian:trixie-slim
COPY --from=settings /settings /settings
COPY --from=builder /app /app
USER nobody
CMD ["cat", "/app"]

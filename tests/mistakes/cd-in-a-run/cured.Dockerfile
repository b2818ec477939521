# Says:    /app/made
FROM debian:trixie-slim
WORKDIR /app
RUN echo hello > made
USER nobody
CMD ["cat", "/app/made"]

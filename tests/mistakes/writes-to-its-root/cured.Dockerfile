# Says:    written
FROM debian:trixie-slim
WORKDIR /app
USER nobody
CMD ["sh", "-c", "date > /tmp/cache && echo written"]

# Says:    hello
FROM debian:trixie-slim
COPY motd /motd
USER nobody
CMD ["cat", "/motd"]

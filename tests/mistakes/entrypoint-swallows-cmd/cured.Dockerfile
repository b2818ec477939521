# Says:    hello, world
FROM debian:trixie-slim
USER nobody
ENTRYPOINT ["echo", "hello,"]
CMD ["world"]

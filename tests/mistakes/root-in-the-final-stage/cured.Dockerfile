# Says:    uid=65534(nobody)
FROM debian:trixie-slim
USER nobody
CMD ["id"]

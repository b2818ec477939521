# Says:    13.
FROM debian:trixie-slim
USER nobody
CMD ["cat", "/etc/debian_version"]

# Says:    hello
FROM debian:trixie-slim
ARG SITE
ADD --checksum=sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03 --chmod=644 $SITE/greeting /greeting
USER nobody
CMD ["cat", "/greeting"]

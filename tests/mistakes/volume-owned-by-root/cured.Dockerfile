# Says:    1
FROM debian:trixie-slim
RUN install -d -o nobody -g nogroup /data
USER nobody
VOLUME /data
CMD ["sh", "-c", "echo 1 >> /data/hits && cat /data/hits"]

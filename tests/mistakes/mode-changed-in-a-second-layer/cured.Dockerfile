# Says:    1
FROM debian:trixie-slim
RUN head -c 30000000 /dev/zero > /model && chmod 444 /model
USER nobody
CMD ["wc", "-c", "/model"]

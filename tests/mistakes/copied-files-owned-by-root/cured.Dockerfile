# Says:    1
#          2
FROM debian:trixie-slim
USER nobody
COPY --chown=nobody counter /tmp/counter
CMD ["sh", "-c", "cat /tmp/counter && echo 2 | tee -a /tmp/counter"]

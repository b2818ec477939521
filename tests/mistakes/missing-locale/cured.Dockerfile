# Says:    hello
FROM debian:trixie-slim
ENV LC_ALL=C.UTF-8
USER nobody
CMD ["bash", "-c", "bash -c 'echo hello'"]

# Says:    1 lines
FROM debian:trixie-slim
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN cat /etc/debian_version | wc -l > /count
USER nobody
CMD ["sh", "-c", "echo $(cat /count) lines"]

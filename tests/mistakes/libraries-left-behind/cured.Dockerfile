# Says:    13.
FROM debian:trixie-slim AS builder
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN mkdir /out && ldd /usr/bin/cat | grep -o '/[^ ]*' | xargs cp --parents --dereference --target-directory=/out /usr/bin/cat

FROM scratch
COPY --from=builder /out/ /
COPY --from=builder /etc/debian_version /version
USER 65534:65534
CMD ["/usr/bin/cat", "/version"]

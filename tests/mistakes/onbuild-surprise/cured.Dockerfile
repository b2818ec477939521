# Says:    I wrote this
FROM debian:trixie-slim AS base

FROM base
RUN echo "I wrote this" > /motd
USER nobody
CMD ["cat", "/motd"]

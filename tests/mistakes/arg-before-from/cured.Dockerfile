# Says:    built with version 1.2.
ARG APP_VERSION=1.2
FROM debian:trixie-slim
ARG APP_VERSION
RUN echo "built with version $APP_VERSION." > /version
USER nobody
CMD ["cat", "/version"]

# Says:    built with version 1.2.
FROM debian:trixie-slim
ENV APP_VERSION=1.2
RUN echo "built with version $APP_VERSION." > /version
USER nobody
CMD ["cat", "/version"]

# Says:    released and tested
FROM debian:trixie-slim AS build
RUN echo released and tested > /app

FROM build AS test
RUN grep -q tested /app && touch /passed

FROM debian:trixie-slim
COPY --from=build /app /app
COPY --from=test /passed /passed
USER nobody
CMD ["cat", "/app"]

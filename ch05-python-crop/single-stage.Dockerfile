# What people did before: one stage, one image, everything in it. For comparison only; Dockerfile
# does it better. It works, and each commented line is a habit that costs something.
#
#   docker image build --file single-stage.Dockerfile --tag ch05-python-crop:single-stage .
#
# hadolint, a program that checks Dockerfiles, would complain five times below, and rightly so:
# hadolint global ignore=DL3008,DL3009,DL3015,DL3025,DL3042

FROM python:3.13-slim
WORKDIR /app
# All of the source first: one changed line, and every step below runs again.
COPY . .
# "Maybe something has to be compiled." It hasn't, but the compiler stays in the image, and so do
# apt's package lists.
RUN apt-get update && apt-get install -y build-essential
# Both programs' requirements in one environment, test tools included, and pip's download cache
# beside them. The server carries OpenCV about and never opens it.
RUN pip install -r cropper/requirements-dev.txt -r server/requirements-dev.txt
ENV PYTHONPATH=/app/cropper:/app/server
EXPOSE 8080
# No volume: photos are written into the container itself, which --read-only forbids, and go with it.
# Shell form, as root: sh is process 1, Python never hears of "docker stop", and ten seconds later
# it is killed. The cropper starts by hand: docker container exec NAME python -m cropper ...
CMD python -m gallery

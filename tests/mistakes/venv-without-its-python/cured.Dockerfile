# Says:    Python 3.13
FROM python:3.13-slim AS builder
RUN python3 -m venv --without-pip /venv

FROM python:3.13-slim
COPY --from=builder /venv /venv
USER nobody
CMD ["/venv/bin/python", "--version"]

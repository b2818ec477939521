# Says:    1.13.0
FROM python:3.13-slim
RUN pip install --no-cache-dir --root-user-action=ignore --target /tools ninja==1.13.0
USER nobody
CMD ["/tools/bin/ninja", "--version"]

# Says:    exit code 0
FROM python:3.13-slim
USER nobody
STOPSIGNAL SIGINT
CMD ["python3", "-u", "-m", "http.server", "8080", "--directory", "/usr/share"]

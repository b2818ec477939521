# Says:    healthy
FROM python:3.13-slim
USER nobody
STOPSIGNAL SIGINT
EXPOSE 8080
HEALTHCHECK --interval=1s --retries=3 \
  CMD ["python3", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/', timeout=2)"]
CMD ["python3", "-m", "http.server", "8080", "--directory", "/usr/share"]

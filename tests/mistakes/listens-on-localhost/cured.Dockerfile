# Says:    00000000:1F90
FROM python:3.13-slim
USER nobody
STOPSIGNAL SIGINT
EXPOSE 8080
CMD ["python3", "-m", "http.server", "8080", "--directory", "/usr/share", "--bind", "0.0.0.0"]

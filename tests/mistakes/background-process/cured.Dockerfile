# Try:     docker run -d --name mistake mistake; sleep 1; docker inspect -f "{{.State.Status}}" mistake
# Says:    running
FROM python:3.13-slim
USER nobody
STOPSIGNAL SIGINT
EXPOSE 8080
CMD ["python3", "-m", "http.server", "8080", "--directory", "/usr/share"]

# Says:    CACHED
FROM python:3.13-slim
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir --root-user-action=ignore --requirement requirements.txt
COPY . .
USER nobody
CMD ["python3", "app.py"]

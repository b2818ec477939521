# Says:    4.12.0
FROM python:3.13-slim
RUN pip install --no-cache-dir --root-user-action=ignore numpy==2.3.5
RUN pip install --no-cache-dir --root-user-action=ignore --no-deps opencv-python-headless==4.12.0.88
USER nobody
CMD ["python3", "-c", "import cv2; print(cv2.__version__)"]

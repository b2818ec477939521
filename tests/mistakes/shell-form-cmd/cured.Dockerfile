# Says:    exit code 0
FROM node:24-slim
WORKDIR /app
COPY app.js .
USER node
CMD ["node", "app.js"]

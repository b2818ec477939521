# Try:     DB_PASSWORD=from-outside docker run --rm --env DB_PASSWORD mistake
# Says:    the password has 12 letters
FROM debian:trixie-slim
USER nobody
CMD ["sh", "-c", "echo the password has ${#DB_PASSWORD} letters"]

# Before:  true
# Try:     docker run --rm mistake
# Says:    another base:
FROM debian:trixie-slim
USER nobody
CMD ["sh", "-c", "echo another base: $(basename \"$(command -v python3)\")"]

# Options: --secret id=token,src=token.txt
# Try:     docker run --rm mistake
# Says:    fetched with a token of 17 letters
FROM debian:trixie-slim
RUN --mount=type=secret,id=token echo "fetched with a token of $(wc -c < /run/secrets/token) letters" > /fetched
USER nobody
CMD ["cat", "/fetched"]

# Says:    hello
FROM debian:trixie-slim
COPY notes.txt /notes.txt
USER nobody
CMD ["cat", "/notes.txt"]

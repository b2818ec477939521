# Options: --secret id=netrc,src=.netrc
# Try:     docker save mistake | grep -a -c not-a-real-token
# Says:    0
FROM debian:trixie-slim
RUN --mount=type=secret,id=netrc,target=/root/.netrc wc -l < /root/.netrc > /fetched
USER nobody
CMD ["cat", "/fetched"]

"""`python -m gallery.health`: exit status 0 if the server of this container answers, 1 if not.

For the image's HEALTHCHECK, which thus needs no curl.
"""

import http.client
import sys

from .settings import Settings


def main() -> int:
    """Ask the server on this machine how it is."""
    connection = http.client.HTTPConnection("127.0.0.1", Settings.from_environment().port, timeout=3)
    try:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
    except OSError as error:
        print(f"The server does not answer: {error}.", file=sys.stderr)
        return 1
    print(answer.read().decode().strip())
    return 0 if answer.status == 200 else 1


if __name__ == "__main__":
    sys.exit(main())

"""Who may upload: whoever knows the token in the token file."""

import hmac
from pathlib import Path


class Refused(Exception):
    """This uploader may not upload; `status` is 401 (wrong or no token) or 403 (nobody may)."""

    def __init__(self, status: int, reason: str):
        super().__init__(reason)
        self.status = status


class Door:
    """Checks bearer tokens against a file, which is read each time: a new token needs no restart."""

    def __init__(self, token_file: Path):
        self.token_file = token_file

    def token(self) -> bytes:
        """The token that opens the door; empty if there is none, and then nothing opens it."""
        try:
            return self.token_file.read_bytes().strip()
        except OSError:
            return b""

    def check(self, authorization: str) -> None:
        """Return if `authorization`, the HTTP header's value, has the token; raise Refused if not."""
        token = self.token()
        if not token:
            raise Refused(403, f"Uploads are turned off: there is no token in {self.token_file}.")
        scheme, _, given = authorization.partition(" ")
        # An ordinary comparison stops at the first wrong byte, and its time would tell where that is.
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode("utf-8", "replace"), token):
            raise Refused(401, "Wrong or missing token: send the header 'Authorization: Bearer <token>'.")

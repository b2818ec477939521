"""What the server is told from outside, read from environment variables."""

import os
from dataclasses import dataclass, fields
from pathlib import Path


class BadSetting(ValueError):
    """An environment variable has a value that cannot be used; the message names it."""


@dataclass(frozen=True)
class Settings:
    """The server's settings. Every field is the environment variable of the same name in capitals."""

    data_dir: Path = Path("/data")
    """Folder that keeps the photos and the database. Made if absent."""
    upload_token_file: Path = Path("/run/secrets/upload_token")
    """File whose content an uploader must know. Absent or empty: nobody may upload."""
    port: int = 8080
    """TCP port to listen on."""
    max_upload_mb: int = 64
    """Largest request body in MB (1,000,000 bytes): an original, its crop and a few words."""
    max_megapixels: int = 64
    """Largest picture in millions of pixels. Decoding takes up to 4 bytes a pixel, one picture at a time."""

    @classmethod
    def from_environment(cls, environment=os.environ) -> "Settings":
        """Read the settings from `environment`; raise BadSetting for a value that cannot be used."""
        values = {}
        for field in fields(cls):
            name = field.name.upper()
            text = environment.get(name, "").strip()
            if not text:
                continue
            if field.type is Path:
                values[field.name] = Path(text)
                continue
            top = 65535 if field.name == "port" else 1000
            if not (text.isascii() and text.isdigit() and 1 <= int(text) <= top):
                raise BadSetting(f"{name} must be a whole number from 1 to {top}, but it is {text!r}.")
            values[field.name] = int(text)
        return cls(**values)

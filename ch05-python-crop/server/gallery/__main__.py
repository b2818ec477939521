"""`python -m gallery`: serve the gallery until SIGTERM or SIGINT."""

import logging
import signal
import sys
import tempfile

import waitress.server
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.receiver import ChunkedReceiver, FixedStreamReceiver

from .app import UPLOADS_AT_ONCE, create_app
from .door import Refused
from .settings import BadSetting, Settings
from .store import Unusable

log = logging.getLogger("gallery")


class _Nowhere:
    """A buffer for request bodies that nobody wants."""

    def append(self, data):
        pass

    def __len__(self):
        return 0

    def getfile(self):
        return open("/dev/null", "rb")

    def close(self):
        pass


def _channel_class(app):
    """Connections that keep a request's body only if it is an upload that will be looked at.

    Waitress takes in a whole body, on the disk if it is large, before the application can refuse it. Without this
    anyone could fill the disk who can reach the port. The unwanted bytes are still read, since closing the
    connection on a client that is sending would lose the answer that tells it why.
    """
    door, limit = app.extensions["door"], app.config["MAX_CONTENT_LENGTH"]

    def wanted(request):
        if request.command != "POST" or request.path != "/photos" or request.content_length > limit:
            return False
        try:
            door.check(request.headers.get("AUTHORIZATION", ""))
        except Refused:
            return False
        return True

    class Parser(HTTPRequestParser):
        def parse_header(self, header_plus):
            super().parse_header(header_plus)
            if self.body_rcv is not None and not wanted(self):
                if self.chunked:
                    self.body_rcv = ChunkedReceiver(_Nowhere())
                else:
                    self.body_rcv = FixedStreamReceiver(self.content_length, _Nowhere())

    return type("Channel", (HTTPChannel,), {"parser_class": Parser})


def main() -> int:
    """Serve until told to stop. Exit status 0 after a signal, 2 if the settings or the folder are no good."""
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(message)s")
    # Waitress warns, with a line a request, that a request waits for a thread: under load that is no news.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    # As process 1 of a container the program is not ended by signals that it does not handle. Waitress stops
    # on SystemExit: no new requests, and those being worked on are finished.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: sys.exit(0))
    try:
        settings = Settings.from_environment()
        app = create_app(settings)
    except (BadSetting, Unusable) as error:
        print(error, file=sys.stderr)
        return 2
    store = app.extensions["store"]
    # Large uploads wait on the volume until they are whole: in a container /tmp may be memory.
    tempfile.tempdir = str(store.incoming)
    limit = app.config["MAX_CONTENT_LENGTH"]
    try:
        server = waitress.server.create_server(
            app,
            listen=f"0.0.0.0:{settings.port}",
            # A slow uploader or viewer takes a connection, not a thread; so there are many of the first (with a
            # file for each one's body they stay below 1,024, which is as many as a process may have open) ...
            connection_limit=500,
            asyncore_use_poll=True,
            # ... and few of the second: four more than can be busy with uploads.
            threads=UPLOADS_AT_ONCE + 4,
            inbuf_overflow=64 * 1024,
            max_request_header_size=32 * 1024,
            # Up to here the application says that a body is too large, in JSON; beyond, waitress hangs up.
            max_request_body_size=4 * limit,
            ident="gallery",
        )
    except OSError as error:
        print(f"Port {settings.port} cannot be listened on: {error.strerror}. Set PORT to another.", file=sys.stderr)
        store.close()
        return 2
    server.channel_class = _channel_class(app)
    uploads = "on" if app.extensions["door"].token() else f"off, as there is no token in {settings.upload_token_file}"
    try:
        log.info(
            "Gallery of %d photos in %s on port %d; uploads are %s.",
            store.count(), settings.data_dir, settings.port, uploads,
        )  # fmt: skip
        server.run()
    except SystemExit:
        pass  # the signal came just before waitress was ready to take it
    store.close()
    log.info("Stopped.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

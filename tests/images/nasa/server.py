"""NASA's Astronomy Picture of the Day, as the tests want it (https://github.com/nasa/apod-api).

GET  /planetary/apod   answers as scripted
POST /script           a JSON object: {"mode": one of MODES, "seconds": how long an answer takes,
                       "retry_after": text of that header for "429"}; also sets the count of calls to 0
GET  /calls            {"calls": number of GET /planetary/apod since the last script, "key": the last X-Api-Key}
"""
import json
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PICTURE = {"date": "2026-11-24", "media_type": "image", "service_version": "v1", "title": "A Spiral of Stars",
           "url": "https://nasa.example/spiral.jpg", "hdurl": "https://nasa.example/spiral-big.jpg",
           "copyright": "\nAda Example\n", "explanation": "Stars, in a spiral."}
VIDEO = {"date": "2026-11-24", "media_type": "video", "service_version": "v1", "title": "A Launch",
         "url": "https://video.example/embed/1", "thumbnail_url": "https://video.example/1.jpg",
         "explanation": "Up it goes."}
MODES = ("picture", "video", "429", "500", "redirect", "drip", "garbage", "huge", "cut")

lock = threading.Lock()
state = {"mode": "picture", "seconds": 0, "retry_after": None, "calls": 0, "key": None}


class Nasa(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/calls":
            return self.answer(200, {"calls": state["calls"], "key": state["key"]})
        if self.path.split("?")[0] != "/planetary/apod":
            return self.answer(404, {"error": "no such page"})
        with lock:
            state["calls"] += 1
            state["key"] = self.headers.get("X-Api-Key")
        return self.scripted(state["mode"])

    def do_POST(self):
        script = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/script" or script.get("mode") not in MODES:
            return self.answer(400, {"error": f"POST /script wants a mode, one of {', '.join(MODES)}"})
        with lock:
            state.update({"seconds": 0, "retry_after": None, "calls": 0, "key": None}, **script)
        return self.answer(200, state)

    def scripted(self, mode):
        time.sleep(state["seconds"])
        if mode == "picture":
            self.answer(200, PICTURE)
        elif mode == "video":
            self.answer(200, VIDEO)
        elif mode == "429":
            headers = {"Retry-After": state["retry_after"]} if state["retry_after"] else {}
            self.answer(429, {"error": {"code": "OVER_RATE_LIMIT"}}, headers)
        elif mode == "500":
            self.answer(500, {"error": "boom"})
        elif mode == "redirect":
            self.answer(302, {}, {"Location": f"http://{self.headers['Host']}/planetary/apod?elsewhere"})
        elif mode == "drip":
            self.drip()
        elif mode == "garbage":
            self.answer(200, b"<html>Log in to the hotel's network first.</html>")
        elif mode == "huge":
            self.answer(200, b'{"url": "' + b"x" * 5_000_000 + b'"}')
        elif mode == "cut":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b'{"url": "https://')
            self.close_connection = True

    def drip(self):
        """Send one byte a quarter of a second: a client whose time limit is per read never gives up."""
        body = json.dumps(PICTURE).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        for byte in body:
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            time.sleep(0.25)

    def answer(self, status, body, headers=None):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": len(data), **(headers or {})}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(data)

    def handle(self):
        try:
            super().handle()
        except ConnectionError:
            pass  # the client lost patience, which is what some scripts are about


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = ThreadingHTTPServer(("", 8080), Nasa)
    server.daemon_threads = True
    print("NASA's stand-in answers on port 8080", flush=True)
    server.serve_forever()

def app(environment, start):
    start("200 OK", [("Content-Type", "text/plain")])
    return [b"hello\n"]

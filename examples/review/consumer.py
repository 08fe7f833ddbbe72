"""A review sink: keeps each CloudEvent that INT8 servers send it once, and shows them to whoever looks again.

    python consumer.py FOLDER [PORT]

POST / takes a batch (application/cloudevents-batch+json) and answers 204 once it is on the disk. GET / gives the newest
hundred. Servers send an event again if an answer of ours got lost: its source and id say that it is here already.
"""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock

BODY_LIMIT_BYTES = 64 * 2**20


class Reviews:
    """Events in a file, one a line; identities of all of them in memory."""

    def __init__(self, path: Path) -> None:
        path.touch()
        content = path.read_bytes()
        os.truncate(path, content.rfind(b"\n") + 1)  # a line that a crash cut off was never answered for
        self.path, self.lock = path, Lock()
        self.known = {self.identity(json.loads(line)) for line in content.split(b"\n")[:-1]}

    @staticmethod
    def identity(event: dict[str, object]) -> tuple[str, str]:
        return str(event["source"]), str(event["id"])

    def add(self, events: list[dict[str, object]]) -> None:
        with self.lock:
            new = {self.identity(each): each for each in events if self.identity(each) not in self.known}
            with self.path.open("a") as file:
                file.writelines(json.dumps(each) + "\n" for each in new.values())
                file.flush()
                os.fsync(file.fileno())
            self.known.update(new)

    def newest(self) -> bytes:
        with self.lock:
            return b"[" + b",".join(self.path.read_bytes().split(b"\n")[-101:-1]) + b"]"


class Handler(BaseHTTPRequestHandler):
    reviews: Reviews
    timeout = 30  # a client that says nothing more

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", "0"))
        if self.headers.get_content_type() != "application/cloudevents-batch+json":
            return self.answer(415)
        if not 0 < length <= BODY_LIMIT_BYTES:
            return self.answer(413)
        try:
            self.reviews.add(json.loads(self.rfile.read(length)))
        except (ValueError, KeyError, TypeError):
            return self.answer(400)  # never again: the sender drops it and counts it
        return self.answer(204)

    def do_GET(self) -> None:
        self.answer(200, self.reviews.newest())

    def answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    folder, port = Path(sys.argv[1]), int(sys.argv[2] if len(sys.argv) > 2 else 8080)
    Handler.reviews = Reviews(folder / "reviews.jsonl")
    ThreadingHTTPServer(("", port), Handler).serve_forever()

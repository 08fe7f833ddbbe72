"""A review sink: keeps each CloudEvent that INT8 servers send it once, and shows them to whoever looks again.

    python consumer.py FOLDER [PORT]

POST / takes a batch (application/cloudevents-batch+json) and answers 204 once it is on the disk. GET / gives the newest
hundred. Servers send an event again if an answer of ours got lost: its source and id say that it is here already.
"""

import json
import os
import signal
import sys
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock

BODY_LIMIT_BYTES = 64 * 2**20
NEWEST = 100


class Reviews:
    """Events in a file, one a line; in memory the identities of all, and where the newest begin."""

    def __init__(self, path: Path) -> None:
        self.path, self.lock = path, Lock()
        self.known: set[tuple[str, str]] = set()
        self.begins: deque[int] = deque(maxlen=NEWEST)
        self.size = 0
        with path.open("ab+") as file:
            file.seek(0)
            # A line that a crash cut off was never answered for.
            for line in (each for each in file if each.endswith(b"\n")):
                self.count(line, self.identity(json.loads(line)))
            file.truncate(self.size)

    @staticmethod
    def identity(event: dict[str, object]) -> tuple[str, str]:
        return str(event["source"]), str(event["id"])

    def count(self, line: bytes, identity: tuple[str, str]) -> None:
        self.begins.append(self.size)
        self.size += len(line)
        self.known.add(identity)

    def add(self, events: list[dict[str, object]]) -> None:
        with self.lock:
            found = {self.identity(each): each for each in events}
            new = {name: json.dumps(each).encode() + b"\n" for name, each in found.items() if name not in self.known}
            with self.path.open("r+b") as file:
                # Over whatever a full disk left of a batch before, which was not answered for either.
                file.truncate(self.size)
                file.seek(self.size)
                file.writelines(new.values())
                file.flush()
                os.fsync(file.fileno())
            for name, line in new.items():
                self.count(line, name)

    def newest(self) -> bytes:
        with self.lock, self.path.open("rb") as file:
            begin = self.begins[0] if self.begins else 0
            file.seek(begin)
            return b"[" + file.read(self.size - begin).rstrip().replace(b"\n", b",") + b"]"


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
        except OSError:
            return self.answer(507)  # later: the sender keeps it
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
    # The first process of a container is sent no signal that it has no word on: it would be killed half a minute later.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    folder, port = Path(sys.argv[1]), int(sys.argv[2] if len(sys.argv) > 2 else 8080)
    Handler.reviews = Reviews(folder / "reviews.jsonl")
    ThreadingHTTPServer(("", port), Handler).serve_forever()

"""A proxy before a server of HTTP, which stops the answer to a chosen change: the moment to kill who waits for it."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count

# What changes nothing that a reader sees: a token, and an upload before all of its parts are there.
_UNSEEN = re.compile(r"/oauth/|[?&](?:uploads\b|partNumber=)")


class Moment:
    """The moment after a change of all servers behind proxies, from 1."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._passed, self._changes, self._number = threading.Event(), count(1), 0

    def set(self, number: int) -> None:
        """Chooses the change; those before it do not count."""
        self._passed.set()
        self.reached, self._passed, self._changes, self._number = threading.Event(), threading.Event(), count(1), number

    def wait(self) -> None:
        """After a change: for ever, if it is the chosen one."""
        reached, passed = self.reached, self._passed
        if next(self._changes) == self._number:
            reached.set()
            passed.wait()


@contextmanager
def proxy(port: int, moment: Moment) -> Iterator[int]:
    """The port of a proxy before the server of another port of the loopback device."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            chunked = self.headers.get("Transfer-Encoding") == "chunked"
            body = self.chunks() if chunked else self.rfile.read(int(self.headers.get("Content-Length") or 0))
            upstream = HTTPConnection("127.0.0.1", port, timeout=60)
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():  # also the host, which is signed
                upstream.putheader(name, value)
            upstream.endheaders(body)
            answer = upstream.getresponse()
            content = answer.read()
            upstream.close()
            if self.command not in ("GET", "HEAD") and not _UNSEEN.search(self.path):
                moment.wait()
            self.send_response_only(answer.status)
            length = [] if self.command == "HEAD" else [("Content-Length", str(len(content)))]
            kept = [item for item in answer.getheaders() if item[0].lower() not in ("transfer-encoding", "connection")]
            for name, value in [item for item in kept if not length or item[0].lower() != "content-length"] + length:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def chunks(self) -> bytes:
            """A body in chunks, as it came: per chunk a line with its size, its bytes and an end of line."""
            read = []
            while not read or read[-1][0]:
                line = self.rfile.readline()
                size = int(line, 16)
                read.append((size, line + self.rfile.read(size + 2)))
            return b"".join(content for _, content in read)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = forward  # noqa: N815 (names of the standard library)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *arguments: None  # a client that was killed
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        moment.set(0)
        server.shutdown()
        server.server_close()

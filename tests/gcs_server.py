"""A real server of Google's storage protocol on loopback (gcp-storage-emulator's), whose answers a test may
spoil."""

import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

Spoil = Callable[[int, str], "tuple[int, str] | None"]  # request number, method -> (status, message)


@dataclass
class Server:
    port: int
    requests: list[tuple[str, str]] = field(default_factory=list)  # method, path with query
    spoil: Spoil = lambda number, method: None

    def uri(self, path: str, bucket: str = "runs") -> str:
        return f"gs://anonymous@{bucket}/{path}?scheme=http&endpoint_override=127.0.0.1:{self.port}"


@contextmanager
def gcs_server() -> Iterator[Server]:
    from http.server import ThreadingHTTPServer

    from gcp_storage_emulator.handlers.buckets import create_bucket
    from gcp_storage_emulator.server import RequestHandler, Router
    from gcp_storage_emulator.storage import Storage

    server, storage, turn = Server(0), Storage(use_memory_fs=True), threading.Lock()
    storage._write_config_to_file = lambda: None
    create_bucket("runs", storage)

    class Handler(RequestHandler):
        """The emulator's own server answers one request at a time, and its storage is made for that."""

        def __init__(self, *arguments: object) -> None:
            super().__init__(storage, *arguments)

        def answer(self) -> None:
            server.requests.append((self.command, self.path))
            spoiled = server.spoil(len(server.requests), self.command)
            if spoiled:
                self.refuse(*spoiled)
                return
            outside, self.wfile = self.wfile, io.BytesIO()
            with turn:
                Router(self).handle(self.command)
            outside.write(self.wfile.getvalue())
            self.wfile = outside

        def refuse(self, status: int, message: str) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = json.dumps({"error": {"code": status, "message": message}}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = answer

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.port = listening.server_port
    thread = threading.Thread(target=listening.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()

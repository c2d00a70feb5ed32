"""A real S3 server on loopback (moto's), whose answers a test may spoil."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

Spoil = Callable[[int, str], "tuple[str, str] | None"]  # request number, method -> (status, S3 error code)

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "nobody",
    "AWS_SECRET_ACCESS_KEY": "nothing",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@dataclass
class Server:
    port: int
    scheme: str = "http"
    requests: list[tuple[str, str]] = field(default_factory=list)  # method, path
    spoil: Spoil = lambda number, method: None

    def uri(self, path: str, bucket: str = "runs") -> str:
        return f"s3://{bucket}/{path}?endpoint_override={self.address}&scheme={self.scheme}&region=us-east-1"

    @property
    def address(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"


@contextmanager
def s3_server(scheme: str = "http") -> Iterator[Server]:
    """With `https` its certificate is one that nobody has signed."""
    import threading

    import boto3
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    real = DomainDispatcherApplication(create_backend_app)
    server = Server(0, scheme)

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        server.requests.append((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        spoiled = server.spoil(len(server.requests), environ["REQUEST_METHOD"])
        if spoiled is None:
            return real(environ, start_response)
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        status, code = spoiled
        start_response(status, [("Content-Type", "application/xml")])
        return [f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()]

    signed = "adhoc" if scheme == "https" else None
    listening = make_server("127.0.0.1", 0, application, threaded=True, ssl_context=signed)
    server.port = listening.server_port
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    client = boto3.client("s3", endpoint_url=server.address, region_name="us-east-1", verify=signed is None)
    client.create_bucket(Bucket="runs")
    try:
        yield server
    finally:
        listening.shutdown()
        thread.join()

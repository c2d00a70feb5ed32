"""What S3 says in its own way, against a real server on loopback."""

import logging
from collections.abc import Callable, Iterator

import pytest
from pyarrow.fs import FileSystem

from engine import doctor, folder
from engine.driver.reuse import reuse_told
from engine.errors import SonotuneError, StorageError
from engine.lock.lease import Lease
from engine.storage import Storage, open_storage
from reports import command
from reports.load import load
from tests.s3_server import CREDENTIALS, Server, s3_server


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    pytest.importorskip("moto")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        with s3_server() as server:
            yield server


@pytest.fixture
def server(running: Server) -> Iterator[Server]:
    yield running
    running.spoil = lambda number, method: None


def test_a_region_that_cannot_be_asked_for_is_asked_for_again(
    server: Server, monkeypatch: pytest.MonkeyPatch, impatient: None
) -> None:
    """Amazon alone is asked, which no test does."""
    answers = [OSError("When resolving region for bucket 'runs': AWS Error NETWORK_CONNECTION")] * 3

    class Asking(FileSystem):
        @staticmethod
        def from_uri(uri: str) -> tuple[FileSystem, str]:
            if answers:
                raise answers.pop()
            return FileSystem.from_uri(uri)

    monkeypatch.setattr("pyarrow.fs.FileSystem", Asking)
    open_storage(server.uri("asked")).write("a", b"x")
    answers += [OSError("When resolving region for bucket 'runs': AWS Error NETWORK_CONNECTION")] * 9
    with pytest.raises(StorageError, match=r"cannot open s3://runs/asked: .*see whether the storage answers"):
        open_storage(server.uri("asked"))


WAYS: list[Callable[[Storage], object]] = [
    lambda bucket: bucket.read("a"),
    lambda bucket: bucket.exists("a"),
    lambda bucket: bucket.list(""),
    lambda bucket: bucket.write("a", b"x"),
    lambda bucket: bucket.delete("a"),
]


@pytest.mark.parametrize("way", WAYS, ids=["read", "exists", "list", "write", "delete"])
@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        ("400 Bad Request", "ExpiredToken", "credentials have expired or are wrong; renew them"),
        ("400 Bad Request", "InvalidToken", "credentials have expired or are wrong; renew them"),
        ("301 Moved Permanently", "PermanentRedirect", r"another region; put that into the URI, \?region=…"),
        ("403 Forbidden", "AccountProblem", "rights are missing"),
    ],
)
def test_what_a_server_does_not_accept_is_said_at_once(
    server: Server, status: str, code: str, message: str, way: Callable[[Storage], object]
) -> None:
    """Also by an answer without a body, which is all that one who asks for an object's head gets."""
    bucket = open_storage(server.uri("refused"))
    server.spoil = lambda number, method: (status, code)
    before = len(server.requests)
    with pytest.raises(StorageError, match=message):
        way(bucket)
    assert len(server.requests) == before + 1


def test_a_lease_that_cannot_be_let_go_does_not_hide_why_the_study_stopped(server: Server) -> None:
    bucket = open_storage(server.uri("stopped"))

    def refused() -> None:
        server.spoil = lambda number, method: ("403 Forbidden", "AccessDenied")
        bucket.write("a", b"x")

    with pytest.raises(SonotuneError, match=r"cannot write s3://runs/stopped/a"), Lease(bucket, settle=0.05):
        refused()
    server.spoil = lambda number, method: None
    assert bucket.exists("lock")


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_what_a_uri_asks_for_is_not_forgotten(running: Server) -> None:
    """A server of one's own has a certificate of one's own."""
    with s3_server("https") as server:
        place = open_storage(f"{server.uri('run')}&tls_verify_certificates=false")
        place.write("a", b"x")
        assert place.read("a") == b"x"


ASKING: list[Callable[[str], object]] = [folder.existing, folder.with_study, load]


@pytest.mark.parametrize("ask", ASKING, ids=["resume", "predict", "report"])
@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_a_run_is_not_looked_for_in_a_bucket_that_does_not_exist(
    scheme: str, ask: Callable[[str], object], request: pytest.FixtureRequest
) -> None:
    serving: Server = request.getfixturevalue("server" if scheme == "s3" else "google")
    with pytest.raises(SonotuneError, match=rf"no bucket 'elsewhere' for {scheme}://\S*elsewhere/run to lie"):
        ask(serving.uri("run", bucket="elsewhere"))
    with pytest.raises(SonotuneError, match=r"holds no run|is not a run"):
        ask(serving.uri("nothing"))


def test_doctor_finds_that_a_bucket_may_be_written_and_not_listed(server: Server) -> None:
    server.spoil = lambda number, method: ("403 Forbidden", "AccessDenied") if method == "GET" else None
    finding = doctor.storage(server.uri("doctor"))
    assert finding.level == "red"
    assert "cannot list s3://runs/doctor" in finding.found


def test_a_slash_at_the_end_of_a_uri_names_no_other_place(server: Server) -> None:
    plain, slashed = server.uri("demo"), server.uri("demo/")
    assert plain != slashed
    assert open_storage(slashed).location == open_storage(plain).location == plain
    open_storage(plain).write("study.yaml", b"study: x")
    with pytest.raises(SonotuneError, match="cannot be compared with itself"):
        command.gathered([plain, slashed], None)


def test_a_reused_run_is_known_to_a_resume_unless_its_address_holds_a_secret(server: Server) -> None:
    known = server.uri("old")
    secret = known.replace("s3://", "s3://KEY:SECRET@"), known.replace("//127", "//KEY:SECRET%40127")
    assert reuse_told([known, *secret]) == [{"event": "reuse", "places": [known]}]
    assert reuse_told(secret) == []

"""A storage keeps what was written, whole or not at all: a disk, S3 and Google's; and how each fails."""

import errno
import logging
import os
import random
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import SonotuneError, StorageError, without_secrets
from engine.journal.journal import Journal, read_journal
from engine.lock.lease import Lease
from engine.results import FoldResult, damaged_files, read_result, write_result
from engine.storage import LocalStorage, ObjectStorage, Storage, open_storage
from engine.task import Task
from tests.refusals import as_nobody
from tests.s3_server import CREDENTIALS, Server, s3_server


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    pytest.importorskip("moto")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    before = {name: os.environ.get(name) for name in CREDENTIALS}
    os.environ.update(CREDENTIALS)
    with s3_server() as server:
        yield server
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


@pytest.fixture
def server(running: Server) -> Iterator[Server]:
    yield running
    running.spoil = lambda number, method: None


@pytest.fixture
def objects(server: Server) -> Storage:
    return open_storage(server.uri(uuid.uuid4().hex))


@pytest.fixture(params=["disk", "objects", "in_google"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return LocalStorage(tmp_path) if request.param == "disk" else request.getfixturevalue(request.param)


def test_what_is_written_is_read_listed_and_deleted(storage: Storage) -> None:
    storage.write("a/b/one.bin", b"\0\1")
    storage.write("a/two.bin", b"")
    assert storage.read("a/b/one.bin") == b"\0\1"
    assert storage.list("a") == ["b", "two.bin"]
    assert storage.exists("a/two.bin")
    assert not storage.exists("a/three.bin")
    assert storage.list("") == ["a"]
    storage.write("a/two.bin", b"new")
    assert storage.read("a/two.bin") == b"new"
    storage.delete("a/two.bin")
    storage.delete("a/two.bin")
    assert storage.list("a") == ["b"]
    storage.delete("a")
    assert storage.list("a") == []
    assert not storage.exists("a/b/one.bin")


def test_a_missing_file_is_pythons_own_error(storage: Storage) -> None:
    with pytest.raises(FileNotFoundError):
        storage.read("nowhere")
    assert storage.list("nowhere") == []


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder in which nothing can be made")
def test_a_folder_that_must_not_be_read_is_a_mistake_to_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(place: Path) -> list[str]:
        raise PermissionError(errno.EACCES, "Permission denied", str(place))

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(StorageError, match=r"cannot list .*: the rights are missing; grant them"):
        LocalStorage(tmp_path).list("")


def test_a_folder_that_cannot_be_made_is_a_mistake_to_mend() -> None:
    with pytest.raises(SonotuneError, match="/proc/absent"):
        LocalStorage(Path("/proc/absent/run")).write("study.yaml", b"x")


def test_what_cannot_be_deleted_is_told_and_the_rest_is_deleted() -> None:
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o777)
        for name in ("a/ours/kept.pt", "a/free/gone.pt"):
            LocalStorage(Path(place)).write(name, b"x")
        (Path(place) / "a").chmod(0o777)
        (Path(place) / "a/free").chmod(0o777)
        with (
            as_nobody(),
            pytest.raises(StorageError, match=r"cannot delete .*/a: the rights are missing"),
        ):
            LocalStorage(Path(place)).delete("a")
        assert [path.name for path in Path(place).rglob("*.pt")] == ["kept.pt"]


def test_a_folder_that_is_written_to_while_it_goes_is_deleted_as_far_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(name: str, dir_fd: int | None = None) -> None:
        raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), name)

    LocalStorage(tmp_path).write("a/one.pt", b"x")
    monkeypatch.setattr(os, "rmdir", busy)
    LocalStorage(tmp_path).delete("a")
    assert LocalStorage(tmp_path).list("a") == []


def test_a_link_is_deleted_and_not_what_it_leads_to(tmp_path: Path) -> None:
    LocalStorage(tmp_path).write("theirs/one.pt", b"x")
    (tmp_path / "ours").symlink_to(tmp_path / "theirs")
    LocalStorage(tmp_path).delete("ours")
    assert LocalStorage(tmp_path).list("") == ["theirs"]
    assert LocalStorage(tmp_path).list("theirs") == ["one.pt"]


def test_a_small_object_is_one_request(server: Server, objects: Storage) -> None:
    server.requests.clear()
    objects.write("journal/1.jsonl", b"x" * 1000)
    assert [method for method, _ in server.requests] == ["PUT"]


def test_a_fold_result_goes_through_an_object_store(objects: Storage) -> None:
    task = Task("0123456789", "r0-f2")
    result = FoldResult("0123456789", "r0-f2", "complete", {"lr": 0.1}, ["benign"], "address", score=0.5)
    write_result(objects, task, result, {"epochs.parquet": b"x" * 6_000_000})
    found = read_result(objects, task)
    assert found is not None
    assert found.score == 0.5
    assert damaged_files(objects, task, found.files) == []


def test_a_journal_on_s3_goes_on_where_it_stopped(server: Server, objects: Storage) -> None:
    with Journal(objects) as journal:
        for number in range(12):
            journal.append({"event": "score", "epoch": number})
            if number % 3 == 2:
                journal.commit()
    with Journal(open_storage(objects.location)) as again:
        assert len(again.records) == 12
        again.append({"event": "more"})
    assert len(read_journal(objects)[0]) == 13
    assert len(objects.list("journal")) == 5


@pytest.mark.parametrize("kind", ["objects", "in_google"])
def test_a_run_in_a_bucket_is_held_by_one_driver(kind: str, request: pytest.FixtureRequest) -> None:
    bucket: Storage = request.getfixturevalue(kind)
    with Lease(bucket, beat=0.5, silent=20, settle=0.05) as held:
        with pytest.raises(SonotuneError, match="only one driver"):
            Lease(bucket, beat=0.5, silent=20, settle=0.05)
        held.check()
    assert not bucket.exists("lock")


def test_a_storage_that_fails_one_call_in_five_loses_nothing(
    server: Server, objects: Storage, impatient: None
) -> None:
    """The client's own tries are used up as well: each request fails on its own."""
    chance = random.Random(0)
    server.spoil = lambda number, method: (
        ("503 Slow Down", "SlowDown") if chance.random() < 0.2 else None
    )  # fmt: skip
    with Journal(objects) as journal:
        for number in range(20):
            journal.append({"event": "score", "epoch": number})
            journal.commit()
    assert [record["epoch"] for record in Journal(objects).records] == list(range(20))


def test_what_a_killed_writer_left_aside_is_not_listed(tmp_path: Path) -> None:
    (tmp_path / ".best.pt.1f2e3d4c").write_bytes(b"half of a chec")
    LocalStorage(tmp_path).write("last.pt", b"whole")
    assert LocalStorage(tmp_path).list("") == ["last.pt"]


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        ("403 Forbidden", "AccessDenied", "rights are missing"),
        ("507 Insufficient Storage", "XMinioStorageFull", "no room left"),
    ],
)
def test_an_object_store_that_refuses_says_why(
    server: Server, objects: Storage, impatient: None, status: str, code: str, message: str
) -> None:
    server.spoil = lambda number, method: (status, code) if method in ("PUT", "POST") else None
    with pytest.raises(SonotuneError, match=message):
        objects.write("a", b"x")


def test_a_bucket_that_does_not_exist_is_named(server: Server) -> None:
    with pytest.raises(SonotuneError, match=r"cannot write s3://elsewhere/run/a: there is no such bucket"):
        open_storage(server.uri("run", bucket="elsewhere")).write("a", b"x")


def test_an_unknown_kind_of_storage_is_an_error() -> None:
    with pytest.raises(SonotuneError, match="cannot open the storage 'nonsense://x'"):
        open_storage("nonsense://x")


def test_the_scheme_of_a_uri_may_be_written_in_capitals(server: Server, tmp_path: Path) -> None:
    open_storage(server.uri("capitals").replace("s3://", "S3://")).write("a", b"x")
    assert open_storage(server.uri("capitals")).read("a") == b"x"
    assert open_storage(f"FILE://{tmp_path}").local() == tmp_path


@pytest.mark.parametrize("name", ["runs/a#1", "runs/a#1?region=x", "runs//a", "runs/a/../b", "runs/./a", "",
                                  "runs/a/%2e%2E/b", "runs/a%00b", "runs/a%2F%2Fb"])  # fmt: skip
@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_two_names_in_a_bucket_never_mean_one_place(scheme: str, name: str) -> None:
    with pytest.raises(SonotuneError, match=r"cannot open the storage.*choose another name"):
        open_storage(f"{scheme}://{name}")


@pytest.mark.parametrize(
    ("name", "written"), [("a b/c", "a%20b/c"), ("ü/%20", "%C3%BC/%20"), ("plain+(1)@x", None)]
)
def test_a_name_that_no_uri_can_have_is_told_with_how_it_is_written(
    server: Server, name: str, written: str | None
) -> None:
    if written is not None:
        with pytest.raises(
            SonotuneError, match=f"stand in a URI by their number; write s3://runs/{written}$"
        ):
            open_storage(server.uri(name))
    open_storage(server.uri(written or name)).write("a", b"x")
    assert open_storage(server.uri(written or name)).read("a") == b"x"


def test_the_endpoint_may_come_from_the_environment(server: Server, tmp_path: Path) -> None:
    script = (
        "import sys; from engine.storage import open_storage; open_storage('s3://runs/env').write('a', b'x')"
    )
    environment = os.environ | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.port}"}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)
    assert open_storage(server.uri("env")).read("a") == b"x"


def test_fsspecs_own_storages_work_too() -> None:
    found = open_storage(f"memory://{uuid.uuid4().hex}")
    assert isinstance(found, ObjectStorage)
    found.write("a/b", b"x")
    assert found.read("a/b") == b"x"
    assert found.list("a") == ["b"]
    with pytest.raises(FileNotFoundError):
        found.read("nowhere")


def test_secrets_of_a_uri_are_never_shown() -> None:
    assert without_secrets("s3://KEY:SECRET@bucket/run?access_key=K&region=x") == "s3://bucket/run"
    for user in ("K:SE/CRET@", "K:SE@CRET@", "K:@", "K@"):
        assert without_secrets(f"in s3://{user}bucket/run: no room") == "in s3://bucket/run: no room"
    assert without_secrets("s3://bucket/a@b/run") == "s3://bucket/a@b/run"
    assert str(SonotuneError("s3://K:SECRET@b/run?key=SECRET; mend it")) == "s3://b/run; mend it"


@pytest.mark.parametrize("uri", ["nonsense://KEY:SECRET@bucket/x", "s3://bucket/my run?secret_key=SECRET",
                                 "s3://KEY:A SECRET@bucket/run", "s3://KEY:A?SECRET@b/my run"])  # fmt: skip
def test_secrets_of_a_uri_that_cannot_be_opened_are_never_shown(uri: str) -> None:
    with pytest.raises(SonotuneError, match="cannot open the storage") as error:
        open_storage(uri)
    assert "SECRET" not in str(error.value)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = LocalStorage(tmp_path)
    local.write("a", b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SonotuneError, match="no room left"):
        local.write("a", b"new")
    assert local.read("a") == b"old"
    assert os.listdir(tmp_path) == ["a"]

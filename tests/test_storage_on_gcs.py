"""What Google's storage and pyarrow's client of it do in their own way, against a real server on loopback."""

import time

import pytest

from engine import persist as persisting
from engine.errors import StorageError
from engine.file_systems import _tuned
from engine.journal.journal import Journal, read_journal
from engine.storage import Storage
from tests.gcs_server import Server


@pytest.fixture
def once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second try would hide what the first one leaves behind."""
    monkeypatch.setattr(persisting, "PAUSES", ())


def test_a_folder_is_only_what_lies_in_it(in_google: Storage) -> None:
    for path in ("results/k1/r0-f0/result.json", "results/k1/r0-f1/result.json", "results/k10/r0-f0/x"):
        in_google.write(path, b"x")
    assert in_google.list("results") == ["k1", "k10"]
    assert in_google.list("results/k1") == ["r0-f0", "r0-f1"]
    in_google.delete("results/k1")
    assert in_google.list("") == ["results"]
    assert in_google.list("results") == ["k10"]


def test_a_folder_that_was_made_by_hand_is_listed_and_deleted(in_google: Storage) -> None:
    in_google.files.create_dir("runs/run/a/made", recursive=True)  # type: ignore[attr-defined]
    in_google.write("a/one", b"1")
    assert in_google.list("a") == ["made", "one"]
    in_google.delete("a")
    assert in_google.list("a") == []


def test_a_journal_goes_on_where_it_stopped_and_merges(
    in_google: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.journal.segments.MERGE_ABOVE", 5)
    with Journal(in_google) as journal:
        for number in range(12):
            journal.append({"event": "score", "epoch": number})
            journal.commit()
    with Journal(in_google) as again:
        again.append({"event": "more"})
    assert [record.get("epoch") for record in read_journal(in_google)[0]] == [*range(12), None]
    assert in_google.list("journal") == ["0000000001-0000000012.jsonl", "0000000013-0000000013.jsonl"]


@pytest.mark.parametrize(
    ("status", "said", "message"),
    [
        (401, "Invalid Credentials", "rights are missing"),
        (403, "nobody does not have storage.objects.create access", "rights are missing"),
        (404, "The specified bucket does not exist.", "no such bucket; create it"),
    ],
)
def test_what_will_not_pass_is_said_at_once(
    google: Server, in_google: Storage, status: int, said: str, message: str
) -> None:
    google.spoil = lambda number, method: (status, said)
    with pytest.raises(StorageError, match=message):
        in_google.write("a", b"x")
    assert len(google.requests) == 1


@pytest.mark.parametrize("status", [400, 410])
def test_an_upload_that_is_lost_half_way_is_begun_anew(
    google: Server, in_google: Storage, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """The bucket is there, though pyarrow raises the one as a missing file and the other as a mistake of the
    program."""
    monkeypatch.setattr(persisting, "PAUSES", (0.0,))
    google.spoil = lambda number, method: (status, "no such session") if number == 2 else None
    in_google.write("a", b"x")
    assert in_google.read("a") == b"x"
    assert [method for method, _ in google.requests][:4] == ["POST", "PUT", "POST", "PUT"]


def test_an_upload_that_breaks_off_leaves_what_was_there(
    google: Server, in_google: Storage, once: None
) -> None:
    """It goes in two parts: neither alone may become the object."""
    in_google.write("a", b"old")
    for broken in (2, 3):
        google.requests.clear()
        google.spoil = lambda number, method, at=broken: (403, "no") if number == at else None  # type: ignore
        with pytest.raises(StorageError, match="rights"):
            in_google.write("a", b"x" * 300_000)
        assert in_google.read("a") == b"old"


def test_a_server_that_stays_busy_is_told_within_seconds(
    google: Server, in_google: Storage, once: None
) -> None:
    google.spoil = lambda number, method: (503, "busy")
    began = time.monotonic()
    with pytest.raises(StorageError, match="see whether the storage answers"):
        in_google.write("a", b"x")
    assert time.monotonic() - began < 60


def test_a_limit_that_the_uri_sets_stays() -> None:
    assert _tuned("gs://b/run") == "gs://b/run?retry_limit_seconds=2"
    assert _tuned("gs://b/run?retry_limit_seconds=60") == "gs://b/run?retry_limit_seconds=60"
    assert _tuned("s3://b/run?region=x") == "s3://b/run?region=x&allow_delayed_open=true"
    assert _tuned("abfs://b/run") == "abfs://b/run"

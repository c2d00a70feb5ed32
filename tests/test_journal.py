"""The journal keeps what was committed, whatever happens to its file, and says what is wrong with it."""

import errno
import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import SonotuneError
from engine.journal.held import Stretch, stretches
from engine.journal.journal import Journal, read_journal
from engine.journal.records import encode, parse, seal
from engine.journal.segments import segment_name
from engine.lock.lock import FileLock
from engine.storage import LocalStorage, Storage
from tests.objects import RECORDS, Objects, fill, whole


@pytest.fixture(params=["disk", "objects"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return LocalStorage(tmp_path) if request.param == "disk" else Objects()


def test_what_is_committed_is_read_again(storage: Storage) -> None:
    fill(storage, RECORDS)
    assert read_journal(storage) == (RECORDS, [])
    assert Journal(storage).records == RECORDS


def test_whatever_python_reads_of_json_is_read(storage: Storage) -> None:
    odd = [
        {
            "event": "note",
            "file": "/data/\udcff.png",
            "score": float("-inf"),
            "large": 10**40,
            "small": 5e-324,
        }
    ]
    fill(storage, odd)
    assert read_journal(storage) == (odd, [])


def test_what_tells_of_no_event_is_none_of_ours(tmp_path: Path) -> None:
    lines = [seal([encode(1, RECORDS[0])]), seal([encode(2, {"note": 1})]), seal([encode(3, RECORDS[1])])]
    (tmp_path / "journal.jsonl").write_bytes(b"".join(lines))
    with pytest.raises(SonotuneError, match=r"line 2: .* so the journal is damaged"):
        read_journal(LocalStorage(tmp_path))


def test_numbers_go_on_after_reopening(storage: Storage) -> None:
    fill(storage, RECORDS)
    journal = Journal(storage)
    assert journal.append({"event": "more"}) == 5
    journal.close()
    assert read_journal(storage)[0] == [*RECORDS, {"event": "more"}]


def test_nothing_is_written_before_a_commit(storage: Storage) -> None:
    journal = Journal(storage)
    journal.append(RECORDS[0])
    assert read_journal(storage)[0] == []
    journal.commit()
    assert read_journal(storage)[0] == RECORDS[:1]


def test_an_empty_run_has_an_empty_journal(storage: Storage) -> None:
    assert read_journal(storage) == ([], [])
    assert Journal(storage).records == []


def test_a_file_cut_at_any_byte_keeps_every_whole_line_and_can_be_continued(tmp_path: Path) -> None:
    data = whole()
    ends = [i + 1 for i, byte in enumerate(data) if byte == ord("\n")]
    storage = LocalStorage(tmp_path)
    for cut in range(len(data)):
        (tmp_path / "journal.jsonl").write_bytes(data[:cut])
        kept = sum(end <= cut for end in ends)
        journal = Journal(storage)
        assert journal.records == RECORDS[:kept]
        assert bool(journal.warnings) == (cut not in [0, *ends])
        journal.append({"event": "after"})
        journal.close()
        assert read_journal(storage) == ([*RECORDS[:kept], {"event": "after"}], [])


def test_a_page_that_a_power_cut_kept_from_the_disk_costs_the_last_commit_only(tmp_path: Path) -> None:
    storage, file = LocalStorage(tmp_path), tmp_path / "journal.jsonl"
    first = [{"event": "x", "number": number, "pad": "p" * 80} for number in range(30)]
    fill(storage, first, together=3)
    before = file.stat().st_size
    with Journal(storage) as journal:
        for number in range(60):
            journal.append({"event": "y", "number": number, "pad": "q" * 80})
    whole = file.read_bytes()
    page = -(-before // 4096) * 4096
    file.write_bytes(whole[:before] + bytes(page - before) + whole[page:])
    found, warnings = read_journal(storage)
    assert found == first
    assert "its last commit was cut short" in warnings[0]
    file.write_bytes(whole[: before - 1500] + bytes(400) + whole[before - 1100 :])
    with pytest.raises(SonotuneError, match="the journal is damaged"):
        read_journal(storage)


@pytest.mark.parametrize("bit", range(8))
def test_a_flipped_bit_is_an_error_or_costs_the_last_line_only(bit: int) -> None:
    data = whole()
    for at, byte in enumerate(data):
        joins_two_lines = byte == ord("\n") and at < len(data) - 1
        kept = RECORDS[:-2] if joins_two_lines else RECORDS[:-1]
        try:
            records, _ = parse(data[:at] + bytes([byte ^ 1 << bit]) + data[at + 1 :], 1, "journal.jsonl")
        except SonotuneError as error:
            records = kept if "journal.jsonl, line " in str(error) else []
        assert records == kept


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.integers(0, len(whole())))
def test_any_bytes_at_any_place_never_change_a_record(noise: bytes, at: int) -> None:
    data = whole()
    try:
        records, _ = parse(data[:at] + noise + data[at + len(noise) :], 1, "journal.jsonl")
    except SonotuneError:
        return
    assert records == RECORDS[: len(records)]


def test_a_commit_that_was_cut_short_counts_as_never_written(storage: Storage) -> None:
    """Wherever it was cut: what follows from two of its three records may not be what follows from all."""
    fill(storage, RECORDS, together=1)
    commit = seal([encode(number, {"event": "x"}) for number in (5, 6, 7)])
    for cut in range(1, len(commit)):
        if isinstance(storage, Objects):
            storage.write(f"journal/{segment_name(5, 7)}", commit[:cut])
        else:
            storage.write("journal.jsonl", whole() + commit[:cut])
        journal = Journal(storage)
        assert journal.records == RECORDS
        assert len(journal.warnings) == 1
        journal.close()
        assert read_journal(storage) == (RECORDS, [])


def test_damage_in_the_middle_names_the_line(tmp_path: Path) -> None:
    fill(LocalStorage(tmp_path), RECORDS)
    path = tmp_path / "journal.jsonl"
    path.write_bytes(path.read_bytes().replace(b"told", b"tolb"))
    with pytest.raises(SonotuneError, match=r"journal\.jsonl, line 2: .*checksum"):
        Journal(LocalStorage(tmp_path))


def test_a_lost_line_is_an_error(tmp_path: Path) -> None:
    lines = whole().splitlines(keepends=True)
    (tmp_path / "journal.jsonl").write_bytes(b"".join(lines[:1] + lines[2:]))
    with pytest.raises(SonotuneError, match="line 2"):
        Journal(LocalStorage(tmp_path))


@pytest.mark.parametrize("key", ["n", "commit"])
def test_a_key_that_the_journal_uses_is_refused(storage: Storage, key: str) -> None:
    with pytest.raises(ValueError, match=key):
        Journal(storage).append({key: 3})


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """The system itself refuses to let a file grow beyond this, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_the_journal_readable_and_a_later_commit_completes_it(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    fill(storage, RECORDS)
    journal = Journal(storage)
    journal.append({"event": "large", "text": "x" * 50_000})
    with files_of_at_most(8192), pytest.raises(SonotuneError, match=r"cannot write the journal.*make room"):
        journal.commit()
    assert read_journal(storage) == (RECORDS, [])
    journal.append({"event": "small"})
    journal.commit()
    assert [r["event"] for r in read_journal(storage)[0][4:]] == ["large", "small"]


def test_a_journal_that_shrinks_under_the_run_is_noticed(tmp_path: Path) -> None:
    fill(LocalStorage(tmp_path), RECORDS)
    journal = Journal(LocalStorage(tmp_path))
    os.truncate(tmp_path / "journal.jsonl", 10)
    journal.append({"event": "x"})
    with pytest.raises(SonotuneError, match="shrunk"):
        journal.commit()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_rights_is_a_clear_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(SonotuneError, match="cannot write the journal"):
        Journal(LocalStorage(tmp_path))
    tmp_path.chmod(0o700)


def test_fifty_thousand_records_are_read_within_two_seconds(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    journal = Journal(storage)
    for epoch in range(50_000):
        journal.append(
            {"event": "reported", "task": ["0123456789", "r0-f2"], "epoch": epoch, "score": epoch / 7}
        )
    journal.close()
    start = time.process_time()
    assert len(Journal(storage).records) == 50_000
    assert time.process_time() - start < 2


def test_records_that_nothing_follows_from_are_written_together_after_a_second(storage: Storage) -> None:
    now = [0.0]
    journal = Journal(storage, now=lambda: now[0])
    for seconds, written in ((0.0, 0), (0.9, 0), (1.0, 3), (1.5, 3), (1.9, 3), (2.5, 6)):
        now[0] = seconds
        journal.append({"event": "score"})
        journal.commit_soon()
        assert len(read_journal(storage)[0]) == written
    journal.close()


def test_a_fold_that_is_taken_up_again_holds_a_worker_for_another_stretch() -> None:
    task = {"key": "a", "fold": "r0-f0"}
    held: list[dict[str, Any]] = [
        {"event": "started", "task": task},
        {"event": "reported", "task": task, "held": 3.0},
        {"event": "ended", "task": task, "held": 5.0, "gpus": 0.5},
        {"event": "started", "task": task},
        {"event": "reported", "task": task, "held": 2.0},
        {"event": "opened", "config": "b"},
    ]
    assert stretches(held) == [Stretch("a", 5.0, 0.5), Stretch("a", 2.0, None)]


def test_reading_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_bytes(whole()[:-4])
    records, warnings = read_journal(LocalStorage(tmp_path))
    assert records == RECORDS[:3]
    assert warnings
    assert (tmp_path / "journal.jsonl").read_bytes() == whole()[:-4]


def test_a_disk_that_fails_once_is_asked_again_when_the_journal_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, left = os.fsync, [OSError(errno.EIO, "Input/output error")]

    def sync(file: int) -> None:
        if left:
            raise left.pop()
        real(file)

    monkeypatch.setattr(os, "fsync", sync)
    with Journal(LocalStorage(tmp_path)) as journal:
        journal.append({"event": "study"})
    assert left == []
    assert [record["event"] for record in Journal(LocalStorage(tmp_path)).records] == ["study"]


@pytest.mark.parametrize("passing", [errno.EIO, errno.ESTALE])
def test_a_disk_that_fails_once_is_asked_again_for_journal_and_lock(
    passing: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "journal.jsonl").write_bytes(whole())
    failing = [(Path, "read_bytes"), (os, "open")]

    def once(owner: Any, name: str) -> None:
        real, left = getattr(owner, name), [OSError(passing, os.strerror(passing))]

        def call(*arguments: Any, **options: Any) -> Any:
            if left:
                raise left.pop()
            return real(*arguments, **options)

        monkeypatch.setattr(owner, name, call)

    for owner, name in failing:
        once(owner, name)
    with FileLock(tmp_path / "lock"):
        assert read_journal(LocalStorage(tmp_path))[0] == RECORDS

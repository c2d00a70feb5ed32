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
from engine.journal.segments import Segments, segment_name
from engine.storage import LocalStorage, Storage

RECORDS: list[dict[str, Any]] = [
    {"event": "asked", "params": {"loss.lambda": 0.1 + 0.2, "model": "α"}},
    {"event": "told", "values": [0.5]},
    {"event": "score", "epoch": 3, "score": 1e-17},
    {"event": "ended"},
]


class Objects(Storage):
    """An object store in memory: whole objects only, no folder on a disk."""

    def __init__(self) -> None:
        self.location = "objects://run"
        self.objects: dict[str, bytes] = {}

    def read(self, path: str) -> bytes:
        if path not in self.objects:
            raise FileNotFoundError(path)
        return self.objects[path]

    def write(self, path: str, data: bytes) -> None:
        self.objects[path] = data

    def list(self, folder: str) -> list[str]:
        return sorted(
            path.removeprefix(folder + "/") for path in self.objects if path.startswith(folder + "/")
        )

    def delete(self, path: str) -> None:
        self.objects.pop(path, None)


@pytest.fixture(params=["disk", "objects"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return LocalStorage(tmp_path) if request.param == "disk" else Objects()


def fill(storage: Storage, records: list[dict], together: int = 2) -> None:
    with Journal(storage) as journal:
        for number, record in enumerate(records, start=1):
            journal.append(record)
            if number % together == 0:
                journal.commit()


def whole() -> bytes:
    """One commit for each record."""
    return b"".join(seal([encode(number, record)]) for number, record in enumerate(RECORDS, start=1))


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


def test_each_commit_on_an_object_store_is_one_new_object() -> None:
    storage = Objects()
    fill(storage, RECORDS)
    assert sorted(storage.objects) == [f"journal/{segment_name(1, 2)}", f"journal/{segment_name(3, 4)}"]


def test_a_missing_segment_is_an_error() -> None:
    storage = Objects()
    fill(storage, RECORDS, together=1)
    del storage.objects[f"journal/{segment_name(2, 2)}"]
    with pytest.raises(SonotuneError, match="lacks records 2 to 2"):
        Journal(storage)


def test_a_damaged_segment_is_an_error_that_names_it() -> None:
    storage = Objects()
    fill(storage, RECORDS)
    name = f"journal/{segment_name(1, 2)}"
    storage.objects[name] = storage.objects[name].replace(b"asked", b"akeds")
    with pytest.raises(SonotuneError, match=f"{segment_name(1, 2)}, line 1"):
        Journal(storage)


def test_a_torn_last_segment_is_dropped() -> None:
    storage = Objects()
    fill(storage, RECORDS)
    name = f"journal/{segment_name(3, 4)}"
    storage.objects[name] = storage.objects[name][:-5]
    journal = Journal(storage)
    assert journal.records == RECORDS[:2]
    assert "cut short" in journal.warnings[0]
    journal.append({"event": "after"})
    journal.close()
    assert read_journal(storage) == ([*RECORDS[:2], {"event": "after"}], [])


def test_a_torn_segment_before_others_is_an_error() -> None:
    storage = Objects()
    fill(storage, RECORDS)
    name = f"journal/{segment_name(1, 2)}"
    storage.objects[name] = storage.objects[name][:-5]
    with pytest.raises(SonotuneError, match="cut short"):
        Journal(storage)


def test_a_segment_that_ends_before_the_last_record_of_its_name_is_cut_short() -> None:
    storage = Objects()
    lines = whole().splitlines(keepends=True)
    storage.write(f"journal/{segment_name(1, 2)}", b"".join(lines[:2]))
    storage.write(f"journal/{segment_name(3, 4)}", lines[2])
    journal = Journal(storage)
    assert journal.records == RECORDS[:2]
    assert "cut short" in journal.warnings[0]
    storage.write(f"journal/{segment_name(1, 2)}", lines[0])
    storage.write(f"journal/{segment_name(3, 4)}", b"".join(lines[2:]))
    with pytest.raises(SonotuneError, match=r"cut short although later ones exist"):
        Journal(storage)


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


def test_many_segments_are_merged_by_a_resume_and_a_half_done_merge_does_no_harm() -> None:
    storage = Objects()
    records = [{"event": "score", "epoch": i} for i in range(300)]
    fill(storage, records, together=1)
    before = dict(storage.objects)
    assert Journal(storage).records == records
    assert list(storage.objects) == [f"journal/{segment_name(1, 300)}"]
    storage.objects |= before
    assert Journal(storage).records == records
    assert list(storage.objects) == [f"journal/{segment_name(1, 300)}"]


def test_a_run_that_was_copied_to_a_bucket_and_back_goes_on_with_its_journal(tmp_path: Path) -> None:
    disk, bucket = LocalStorage(tmp_path), Objects()
    fill(disk, RECORDS)
    bucket.write("journal.jsonl", disk.read("journal.jsonl"))
    assert read_journal(bucket) == (RECORDS, [])
    fill(bucket, RECORDS)  # which goes on
    assert read_journal(bucket) == (RECORDS * 2, [])
    assert list(bucket.objects) == [f"journal/{segment_name(a, b)}" for a, b in ((1, 4), (5, 6), (7, 8))]
    back = LocalStorage(tmp_path / "back")
    for path, data in bucket.objects.items():
        back.write(path, data)
    assert read_journal(back) == (RECORDS * 2, [])
    fill(back, RECORDS)
    assert read_journal(back) == (RECORDS * 3, [])
    assert back.list("") == ["journal.jsonl"]


def test_a_torn_journal_that_was_copied_to_a_bucket_loses_its_torn_commit_only() -> None:
    bucket = Objects()
    bucket.write("journal.jsonl", whole()[:-4])
    records, warnings = read_journal(bucket)
    assert (records, len(warnings)) == (RECORDS[:3], 1)
    journal = Journal(bucket)
    assert (journal.records, len(journal.warnings)) == (RECORDS[:3], 1)
    assert read_journal(bucket) == (RECORDS[:3], [])


def test_whoever_reads_while_a_resume_merges_segments_finds_them_merged() -> None:
    class Merging(Objects):
        def list(self, folder: str) -> list[str]:
            found = super().list(folder)
            if len(found) > 200 and folder == "journal":
                resumed, resumed.objects = Objects(), self.objects
                Journal(resumed)  # between this look and the reads that follow
            return found

    storage, records = Merging(), [{"event": "score", "epoch": i} for i in range(300)]
    writer, writer.objects = Objects(), storage.objects
    fill(writer, records, together=1)
    assert Segments(storage).peek() == (records, [])


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

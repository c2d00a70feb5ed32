"""The journal on an object store: numbered objects, merged by a resume, and copied to and from a disk."""

from pathlib import Path

import pytest

from engine.errors import SonotuneError
from engine.journal.journal import Journal, read_journal
from engine.journal.segments import Segments, segment_name
from engine.storage import LocalStorage
from tests.objects import RECORDS, Objects, fill, whole


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


def test_a_list_that_lags_costs_a_resume_no_segment() -> None:
    class Lagging(Objects):
        def list(self, folder: str) -> list[str]:
            nonlocal looks
            looks += 1
            return super().list(folder)[: None if looks < 3 else -1]

    storage, looks = Lagging(), 0
    before = {f"journal/{segment_name(n, n)}": line for n, line in enumerate(whole().splitlines(True), 1)}
    storage.objects |= before
    Journal(storage)
    assert storage.objects == before


def test_two_histories_of_one_run_in_one_place_are_told_as_such() -> None:
    storage, lines = Objects(), whole().splitlines(keepends=True)
    storage.write(f"journal/{segment_name(1, 3)}", b"".join(lines[:3]))
    storage.write(f"journal/{segment_name(2, 4)}", b"".join(lines[1:]))
    with pytest.raises(SonotuneError, match=r"0000000002-0000000004.* tells records 2 to 3 a second time"):
        Journal(storage)


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

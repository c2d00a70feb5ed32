"""The one way to a packed data set: from the cache where nothing changed, else from the files."""

import hashlib
import json
import os
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from engine.data import phantom
from engine.data.arrow import VERSION, named, read_pack, write_pack
from engine.data.cases import Found, Pack, Problem
from engine.data.duplicates import THRESHOLDS, find_pairs, named_groups
from engine.data.files import reading, stamp, writing
from engine.data.groups import read_groups, told_of
from engine.data.pack import Square, squares
from engine.data.parallel import Progress
from engine.data.select import check_classes, select
from engine.data.sources.table import SOURCES
from engine.errors import SonotuneError, many
from engine.spec.data import Data
from engine.storage import LocalStorage
from engine.words import plural

PACKED_FROM = {"source", "classes", "size", "aspect", "other_mask_size", "skip_broken", "count", "seed"}
WAY_OUT = "--skip-broken, in a study data.skip_broken: true"


def load(data: Data, cache: Path, progress: Progress | None = None) -> Pack:
    """Packed once per content of the files; afterwards a memory map, with the notes of that packing."""
    found = Found(()) if data.source == "phantom" else find(data)
    folder = LocalStorage(cache / "packs")
    entry = f"index/{_key(data, found)}.json"
    pack = _cached(folder, entry)
    if pack is None:
        pack = _generated(data) if data.source == "phantom" else _pack(data, found, progress)
        with writing(cache):
            write_pack(folder.root / f"{pack.fingerprint}.arrow", pack)
            folder.write(entry, json.dumps({"fingerprint": pack.fingerprint, "notes": pack.notes}).encode())
    pack = _grouped(pack, data)
    return replace(pack, notes=(*pack.notes, *told_of(pack)))


def _grouped(pack: Pack, data: Data) -> Pack:
    if data.groups == "found":
        return pack
    if data.groups == "none":
        return replace(pack, groups=(None,) * len(pack))
    return read_groups(Path(data.groups).expanduser(), pack)


def default_cache() -> Path:
    """`SONOTUNE_CACHE`, else the folder that the operating system's users expect."""
    chosen = os.environ.get("SONOTUNE_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(chosen) if chosen else Path(home) / "sonotune"


def root_of(data: Data) -> Path:
    """The folder no file may lie outside of; that of a manifest is the manifest's own."""
    root = Path(data.root or "").expanduser().absolute()
    return root.parent if data.source == "manifest" else root


def find(data: Data) -> Found:
    """The cases that the study uses, none of them decoded."""
    source = SOURCES[data.source]
    with reading(f"data.root {data.root!r} ({source.layout})"):
        return select(source.find(data), data)


def _generated(data: Data) -> Pack:
    images, masks, labels = phantom.generate(data.count, data.size, data.classes, data.seed)
    count = len(images)
    names = tuple(f"phantom-{index:05d}" for index in range(1, count + 1))
    unknown = (None,) * count
    return named(
        Pack(
            images=images,
            masks=masks,
            labels=labels,
            cases=names,
            classes=data.classes,
            patients=names,  # each is drawn by itself
            groups=unknown,
            sizes=np.full((count, 2), data.size, np.int32),
            spacing=np.full(count, np.nan),
            official=unknown,
            fingerprint="",
        )
    )


def _key(data: Data, found: Found) -> str:
    """Changes with every file, every table entry and every setting that the packed arrays depend on."""
    settings = data.model_dump(mode="json", include=PACKED_FROM)
    files = [stamp(path) for case in found.cases for path in (case.image, *case.masks)]
    told = [*map(str, found.problems), *found.notes]
    facts = [VERSION, settings, [asdict(case) for case in found.cases], files, told]
    if data.source == "phantom":
        facts.append(hashlib.sha256(Path(phantom.__file__).read_bytes()).hexdigest())
    return hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()[:20]


def _cached(folder: LocalStorage, entry: str) -> Pack | None:
    """A cache that was tampered with, half deleted or of another version counts as no cache."""
    try:
        facts = json.loads(folder.read(entry))
        pack = read_pack(folder.root / f"{facts['fingerprint']}.arrow")
        return None if pack is None else replace(pack, notes=tuple(facts["notes"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _pack(data: Data, found: Found, progress: Progress | None) -> Pack:
    packed = list(squares(found.cases, root_of(data), data, progress))
    good = [square for square in packed if square.image is not None]
    problems = [*found.problems, *(problem for square in packed for problem in square.problems)]
    if problems and not data.skip_broken:
        raise _refused(data, problems)
    check_classes([square.case.label for square in good], data)
    remarks = [remark for square in good for remark in square.remarks]
    pack = _arrays(good, data, (*found.notes, *_told(problems), *_summed(remarks)))
    return named(replace(pack, groups=_duplicates(good, progress)))


def _duplicates(good: list[Square], progress: Progress | None) -> tuple[str | None, ...]:
    """Found while packing, because nobody audits a data set that seems to work."""
    thumbnails = np.stack([square.thumbnail for square in good if square.thumbnail is not None])
    hashes = [square.digest for square in good]
    pairs = find_pairs(hashes, thumbnails, "aligned", THRESHOLDS["aligned"], progress)
    groups = {index: name for name, members in named_groups(pairs).items() for index in members}
    return tuple(groups.get(index) for index in range(len(good)))


def _refused(data: Data, problems: list[Problem]) -> SonotuneError:
    title = f"data set {data.root!r} has broken cases; mend them, or leave them out ({WAY_OUT})"
    return many(title, [str(problem) for problem in problems])


def _told(problems: list[Problem]) -> list[str]:
    return [f"left out: {problem}" for problem in problems]


def _summed(remarks: list[Problem]) -> list[str]:
    """One line per rule: a data set with a thousand antialiased masks has one remark, not a thousand."""
    first = {remark.rule: remark for remark in reversed(remarks)}
    counts = Counter(remark.rule for remark in remarks)
    return [
        f"{plural(counts[rule], 'file')}: {remark.text} [{rule}], such as {remark.file}"
        for rule, remark in first.items()
    ]


def _arrays(good: list[Square], data: Data, notes: tuple[str, ...]) -> Pack:
    cases = [square.case for square in good]
    spacing = [np.nan if case.spacing is None else case.spacing for case in cases]
    return Pack(
        images=np.stack([square.image for square in good if square.image is not None]),
        masks=np.stack([square.mask for square in good if square.mask is not None]),
        labels=np.array([data.classes.index(case.label) for case in cases], np.int64),
        cases=tuple(case.name for case in cases),
        classes=data.classes,
        patients=tuple(case.patient for case in cases),
        groups=(None,) * len(cases),
        sizes=np.array([square.extent for square in good], np.int32),
        spacing=np.array(spacing, np.float64),
        official=tuple(case.fold for case in cases),
        fingerprint="",
        notes=notes,
    )

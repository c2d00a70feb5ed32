"""What is wrong with a data set: every file read once, duplicates found, and all of it put in one table."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from engine.data.cases import NORMAL, Case, Found, Problem
from engine.data.duplicates import Method, Pair, find_pairs, named_groups, pixel_hash
from engine.data.examine import examine, shown
from engine.data.load import find, root_of
from engine.data.parallel import Progress, in_order
from engine.data.similarity import SIDE, moved, thumbnail
from engine.errors import SonotuneError
from engine.spec.data import Data

FINE = 128  # side of the masks that are compared
AGREE = 0.75  # masks of one frame that overlap less (IoU) disagree
TINY = 0.003  # share of the image; below, a lesion has some ten pixels at 64×64
MANY = 3  # lesions in one mask that are worth a look
ODD = 5.0  # robust deviations of size or proportions from the data set's median
LEAST_SPREAD = 0.05  # of the logarithm: data sets of one size only have no spread


@dataclass(frozen=True)
class Facts:
    """What the audit keeps of a case once its pixels are gone."""

    case: Case
    digest: str  # of the decoded pixels; "" where they cannot be decoded
    shape: tuple[int, int]
    thumbnail: np.ndarray  # uint8 [64, 64]
    mask: np.ndarray | None  # uint8 [128, 128]
    share: float  # of the image that is lesion
    lesions: int
    problems: tuple[Problem, ...]
    remarks: tuple[Problem, ...]


@dataclass(frozen=True)
class Finding:
    """One line of the audit. `problem` keeps a case out of a pack; `look` is for a person to judge."""

    rule: str
    weight: str
    case: str
    text: str
    file: str = ""
    other: str = ""
    group: str = ""
    value: float = float("nan")


@dataclass(frozen=True)
class Audit:
    data: Data
    facts: tuple[Facts, ...]
    pairs: tuple[Pair, ...]
    findings: tuple[Finding, ...]

    @cached_property
    def groups(self) -> dict[str, list[Facts]]:
        """By name, members in the order of the cases."""
        return {name: [self.facts[i] for i in group] for name, group in named_groups(self.pairs).items()}

    @cached_property
    def group_of(self) -> dict[str, str]:
        return {facts.case.name: name for name, members in self.groups.items() for facts in members}

    @cached_property
    def conflicts(self) -> set[str]:
        """Groups whose members have different labels."""
        return {
            name for name, members in self.groups.items() if len({facts.case.label for facts in members}) > 1
        }


def audit(data: Data, method: Method, threshold: float, progress: Progress | None = None) -> Audit:
    if data.source == "phantom":
        raise SonotuneError("an audit needs files; phantoms are generated and have none")
    found = find(data)
    root = root_of(data)
    facts = tuple(in_order(lambda case: _facts(case, root, data), found.cases, "reading images", progress))
    readable = [index for index, one in enumerate(facts) if one.digest]
    pairs = _pairs(facts, readable, method, threshold, progress)
    plain = Audit(data, facts, pairs, ())
    return Audit(data, facts, pairs, tuple(_findings(plain, found, root)))


def _facts(case: Case, root: Path, data: Data) -> Facts:
    found = examine(case, root, data.other_mask_size == "resize")
    image, mask = found.image, found.mask
    if image is None:
        nothing = np.zeros((SIDE, SIDE), np.uint8)
        return Facts(case, "", (0, 0), nothing, None, 0.0, 0, found.problems, found.remarks)
    small = None if mask is None else cv2.resize(mask, (FINE, FINE), interpolation=cv2.INTER_NEAREST_EXACT)
    return Facts(
        case=case,
        digest=pixel_hash(image),
        shape=(image.shape[0], image.shape[1]),
        thumbnail=thumbnail(image),
        mask=small,
        share=0.0 if mask is None else float(mask.mean()),
        lesions=0 if mask is None else cv2.connectedComponents(mask)[0] - 1,
        problems=found.problems,
        remarks=found.remarks,
    )


def _pairs(
    facts: tuple[Facts, ...], readable: list[int], method: Method, threshold: float, progress: Progress | None
) -> tuple[Pair, ...]:
    """Positions among the readable ones become positions among all."""
    if len(readable) < 2:
        return ()
    hashes = [facts[index].digest for index in readable]
    thumbnails = np.stack([facts[index].thumbnail for index in readable])
    found = find_pairs(hashes, thumbnails, method, threshold, progress)
    return tuple(
        Pair(readable[pair.first], readable[pair.second], pair.kind, pair.score, pair.warp) for pair in found
    )


def _findings(audit: Audit, found: Found, root: Path) -> Iterator[Finding]:
    for problem in found.problems:
        yield _told(problem, "problem")
    for facts in audit.facts:
        yield from (_told(problem, "problem") for problem in facts.problems)
        yield from (_told(remark, "look") for remark in facts.remarks)
        yield from _lesions(facts, root)
    yield from _sizes(audit.facts, root)
    yield from _duplicates(audit)
    yield from _patients(audit.facts)


def _told(problem: Problem, weight: str) -> Finding:
    return Finding(problem.rule, weight, problem.case, problem.text, problem.file)


def _lesions(facts: Facts, root: Path) -> Iterator[Finding]:
    name = facts.case.name
    file = shown(facts.case.masks[0], root) if facts.case.masks else ""
    if 0 < facts.share < TINY:
        text = f"the lesion covers {facts.share:.2%} of the image"
        yield Finding("tiny-lesion", "look", name, text, file, value=facts.share)
    if facts.lesions >= MANY:
        text = f"{facts.lesions} separate lesions in the mask of one case"
        yield Finding("many-lesions", "look", name, text, file, value=facts.lesions)


def _sizes(all_facts: tuple[Facts, ...], root: Path) -> Iterator[Finding]:
    readable = [facts for facts in all_facts if facts.digest]
    if not readable:
        return
    sides = np.log(np.array([facts.shape for facts in readable], float))
    measures = {"pixels": sides.sum(axis=1), "proportions": sides[:, 1] - sides[:, 0]}
    far = {name: _deviation(values) for name, values in measures.items()}
    for index, facts in enumerate(readable):
        odd = [name for name in measures if far[name][index] > ODD]
        if odd:
            height, width = facts.shape
            text = f"{width}×{height} is far from the others in its {' and '.join(odd)}"
            yield Finding("odd-size", "look", facts.case.name, text, shown(facts.case.image, root))


def _deviation(values: np.ndarray) -> np.ndarray:
    """In robust standard deviations from the median."""
    away = np.abs(values - np.median(values))
    return away / max(1.4826 * float(np.median(away)), LEAST_SPREAD)


def _duplicates(audit: Audit) -> Iterator[Finding]:
    for pair in audit.pairs:
        first, second = audit.facts[pair.first], audit.facts[pair.second]
        one, other = first.case.name, second.case.name
        group = audit.group_of[one]
        text = "the same pixels" if pair.kind == "exact" else f"nearly the same (similarity {pair.score:.3f})"
        yield Finding(f"{pair.kind}-duplicate", "look", one, text, other=other, group=group, value=pair.score)
        overlap = mask_overlap(first, second, pair)
        if overlap < AGREE:
            text = f"one frame, two outlines (IoU {overlap:.2f})"
            yield Finding("masks-disagree", "look", one, text, other=other, group=group, value=overlap)
    for name in sorted(audit.conflicts):
        for facts in audit.groups[name]:
            others = {other.case.label for other in audit.groups[name]} - {facts.case.label}
            text = f"labelled {facts.case.label}, a duplicate of it {' and '.join(sorted(others))}"
            yield Finding("labels-conflict", "look", facts.case.name, text, group=name)


def mask_overlap(first: Facts, second: Facts, pair: Pair) -> float:
    """IoU in the part that both frames show; 1 where either has no usable mask or both are empty."""
    if first.mask is None or second.mask is None:
        return 1.0
    warp = pair.warp.copy()
    scale = FINE / SIDE  # pixel centres of the thumbnail are off those of the mask by (scale − 1)/2
    warp[:, 2] = scale * warp[:, 2] + (scale - 1) / 2 * (1 - warp[:, :2].sum(axis=1))
    inside = moved(np.ones_like(second.mask), warp) > 0
    one, other = first.mask[inside] > 0, moved(second.mask, warp)[inside] > 0
    either = np.count_nonzero(one | other)
    return 1.0 if either == 0 else np.count_nonzero(one & other) / either


def _patients(all_facts: tuple[Facts, ...]) -> Iterator[Finding]:
    """Both breasts may differ, so this is worth a look and no mistake by itself; normal frames are usual."""
    labels: dict[str, set[str]] = defaultdict(set)
    for facts in all_facts:
        if facts.case.patient is not None and facts.case.label != NORMAL:
            labels[facts.case.patient].add(facts.case.label)
    for facts in all_facts:
        own = labels.get(facts.case.patient or "", set())
        if len(own) > 1 and facts.case.label != NORMAL:
            text = f"patient {facts.case.patient} has cases labelled {' and '.join(sorted(own))}"
            yield Finding("patient-labels", "look", facts.case.name, text)

"""`audit.html`: the groups of duplicates side by side, outlines drawn in, in one file without network."""

import base64
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jinja2 import Environment

from engine.data.audit import Audit, Facts, Finding
from engine.data.decode import Broken, read_image
from engine.data.parallel import in_order

TALL = 180  # pixels of a picture on the page
MOST_GROUPS = 400  # on one page: some 10 MB
OUTLINE = (60, 220, 255)  # blue, green, red
MEANING = {
    "labels-conflict": "at least one label is wrong; --curate leaves the whole group out",
    "masks-disagree": "one frame is outlined in two ways",
    "near-duplicate": "leaks between folds, unless data.groups keeps the group together",
    "exact-duplicate": "leaks between folds, unless data.groups keeps the group together",
    "problem": "the case is refused, or left out with --skip-broken",
    "look": "for a person to judge",
}
WORST_FIRST = ("labels-conflict", "masks-disagree", "near-duplicate", "exact-duplicate")


@dataclass(frozen=True)
class Shown:
    name: str
    label: str
    size: str
    picture: str  # data URI; "" where the file cannot be read


@dataclass(frozen=True)
class Group:
    name: str
    kinds: list[str]
    members: list[Shown]
    pairs: list[Finding]


def render(audit: Audit) -> str:
    groups = _groups(audit)
    page = Environment(autoescape=True).from_string(Path(__file__).with_name("audit.html.jinja").read_text())
    loose = [finding for finding in audit.findings if not finding.group]
    return page.render(
        audit=audit,
        counts=_counts(audit),
        groups=groups,
        hidden=len(audit.groups) - len(groups),
        problems=[finding for finding in loose if finding.weight == "problem"],
        looks=[finding for finding in loose if finding.weight == "look"],
    )


def _counts(audit: Audit) -> list[tuple[str, int, str]]:
    """Rule, lines, and what it means, the most frequent first."""
    weights = {finding.rule: finding.weight for finding in audit.findings}
    counts = Counter(finding.rule for finding in audit.findings).most_common()
    return [(rule, count, MEANING.get(rule, MEANING[weights[rule]])) for rule, count in counts]


def _groups(audit: Audit) -> list[Group]:
    """Those with conflicting labels first: they do most harm."""
    rules: dict[str, list[Finding]] = {name: [] for name in audit.groups}
    for finding in audit.findings:
        if finding.group:
            rules[finding.group].append(finding)
    names = sorted(audit.groups, key=lambda name: _worst(rules[name]))[:MOST_GROUPS]
    members = [facts for name in names for facts in audit.groups[name]]
    pictures = dict(zip((facts.case.name for facts in members), in_order(_shown, members), strict=True))
    return [
        Group(
            name=name,
            kinds=[rule for rule in WORST_FIRST if any(finding.rule == rule for finding in rules[name])],
            members=[pictures[facts.case.name] for facts in audit.groups[name]],
            pairs=[finding for finding in rules[name] if finding.other],
        )
        for name in names
    ]


def _worst(findings: list[Finding]) -> int:
    return min(WORST_FIRST.index(finding.rule) for finding in findings)


def _shown(facts: Facts) -> Shown:
    height, width = facts.shape
    return Shown(facts.case.name, facts.case.label, f"{width}×{height}", _picture(facts))


def _picture(facts: Facts) -> str:
    """Proportions kept; the outline comes from the audit's own small mask, which saves reading it again."""
    try:
        image = read_image(facts.case.image)
    except (Broken, OSError):
        return ""
    size = (max(1, round(TALL * image.shape[1] / image.shape[0])), TALL)
    grey = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    colour = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    if facts.mask is not None and facts.mask.any():
        mask = cv2.resize(facts.mask, size, interpolation=cv2.INTER_NEAREST)
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(colour, contours, -1, OUTLINE, 1)
    _, data = cv2.imencode(".jpg", colour, [cv2.IMWRITE_JPEG_QUALITY, 80])
    return "data:image/jpeg;base64," + base64.b64encode(np.asarray(data).tobytes()).decode()

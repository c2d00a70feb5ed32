"""From an audit to a data set without duplicates: which cases stay, which go, and by which rule."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from engine.data.audit import Audit, Facts
from engine.data.examine import shown
from engine.data.load import root_of
from engine.data.sources.manifest import BETWEEN_MASKS

Rule = Literal["drop-all", "keep-one"]
EXPLAINED: dict[Rule, str] = {
    "drop-all": "every member of a group of duplicates is left out, as Curated BUSI does",
    "keep-one": "of a group of duplicates the largest image stays, the first by name among equals",
}


@dataclass(frozen=True)
class LeftOut:
    case: str
    group: str
    reason: str


def curate(audit: Audit, rule: Rule) -> tuple[list[Facts], list[LeftOut]]:
    """Broken cases and groups of conflicting labels go under either rule: no one knows what they show."""
    reasons = {facts.case.name: _reason(facts, audit, rule) for facts in audit.facts}
    kept = [facts for facts in audit.facts if reasons[facts.case.name] is None]
    out = [
        LeftOut(name, audit.group_of.get(name, ""), reason)
        for name, reason in reasons.items()
        if reason is not None
    ]
    return kept, out


def _reason(facts: Facts, audit: Audit, rule: Rule) -> str | None:
    """Why a case goes; none where it stays."""
    if facts.problems:
        return f"broken: {facts.problems[0].rule}"
    group = audit.group_of.get(facts.case.name)
    if group is None:
        return None
    if group in audit.conflicts:
        return "quarantined: its duplicates have another label"
    if rule == "drop-all":
        return "duplicate"
    chosen = best(member for member in audit.groups[group] if not member.problems)
    return None if facts is chosen else f"duplicate of {chosen.case.name}"


def best(members: Iterable[Facts]) -> Facts:
    """`max` takes the first among equals, and members come in natural order of their names."""
    return max(members, key=lambda facts: facts.shape[0] * facts.shape[1])


def manifest_rows(kept: list[Facts], audit: Audit) -> list[dict[str, object]]:
    """Paths are relative to the data set, so that the table serves there as a manifest."""
    root = root_of(audit.data)
    return [
        {
            "case": facts.case.name,
            "image": shown(facts.case.image, root),
            "mask": BETWEEN_MASKS.join(shown(path, root) for path in facts.case.masks),
            "label": facts.case.label,
            "patient": facts.case.patient or "",
            "fold": "" if facts.case.fold is None else facts.case.fold,
            "spacing": "" if facts.case.spacing is None else facts.case.spacing,
        }
        for facts in kept
    ]


@dataclass(frozen=True)
class Agreement:
    """Of our duplicates with those that somebody else left out of the same data set."""

    ours: frozenset[str]
    theirs: frozenset[str]
    unknown: frozenset[str]  # what they kept and this data set has not, under that name at least

    @property
    def precision(self) -> float:
        return len(self.ours & self.theirs) / max(len(self.ours), 1)

    @property
    def recall(self) -> float:
        return len(self.ours & self.theirs) / max(len(self.theirs), 1)


def compare(audit: Audit, kept_elsewhere: Iterable[str]) -> Agreement:
    every = {facts.case.name for facts in audit.facts}
    kept = frozenset(kept_elsewhere)
    return Agreement(frozenset(audit.group_of), frozenset(every - kept), kept - every)

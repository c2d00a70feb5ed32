"""Sampler, race and journal together: whatever is cut off, the decisions that follow are the same."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.changes import change
from engine.conductor import Conductor
from engine.driver.disk import Keeper
from engine.errors import SonotuneError, StorageError
from engine.journal.journal import Journal
from engine.ledger import Past
from engine.race.protocol import Freeze
from engine.race.race import Race
from engine.race.rules import RULES
from engine.results import RunPaths
from engine.sampler.sampler import Sampler
from engine.spec.load import study_of
from engine.spec.space import Space
from engine.spec.study import Configuration, Study
from engine.spec.text import dump
from engine.storage import LocalStorage
from engine.task import Task
from tests.played import cut_off, finished, journal, play, resumed

FOLDS = ("r0-f0", "r0-f1", "r0-f2")


def study(sampler: str = "random", rule: str = "none", configs: int = 6, **search: Any) -> Study:
    return study_of(
        {
            "study": "conductor",
            "train": {"lr": {"loguniform": [1e-4, 1e-1]}, "epochs": 3},
            "loss": {"lambda": {"uniform": [0, 1]}},
            "search": {"sampler": sampler, "configs": configs, "startup": 2, **search},
            "race": {"rule": rule, "warmup": 1},
        },
        "test",
    )


def conductor(folder: Path, spec: Study, past: Any = None) -> Conductor:
    fixed = spec.fixed
    sampler = Sampler(fixed.search, spec.space, fixed.seed, first=spec.first)
    race = Race(fixed.race, FOLDS, fixed.search.configs, fixed.seed, learns=sampler.learns)
    known = {} if past is None else {"past": past}
    return Conductor(spec, sampler, race, Journal(LocalStorage(folder)), **known)


def test_every_configuration_gets_every_fold_once(tmp_path: Path) -> None:
    one = conductor(tmp_path, study())
    tasks = list(play(one))
    assert len(tasks) == len(set(tasks)) == 18
    assert len(one.entries) == 6
    assert one.done is not None


@pytest.mark.parametrize(("sampler", "rule"), [("random", "none"), ("tpe", "none"), ("qmc", "median"),
                                               ("tpe", "paired"), ("random", "thaw")])  # fmt: skip
def test_a_run_killed_at_any_boundary_of_its_journal_decides_the_same(
    tmp_path: Path, sampler: str, rule: str
) -> None:
    spec = study(sampler, rule, configs=4)
    whole = conductor(tmp_path / "whole", spec)
    list(play(whole))
    wanted = journal(tmp_path / "whole")
    for folder in cut_off(tmp_path / "whole", tmp_path):
        trained_before = finished(journal(folder))
        again = resumed(conductor(folder, spec))
        trained_now = list(play(again))
        assert not trained_before & set(trained_now)
        assert asked(journal(folder)) == asked(wanted)
        assert outcomes(again) == outcomes(whole)


def asked(records: list[dict[str, Any]]) -> list[Any]:
    return [r["params"] for r in records if r["event"] == "asked"]


def outcomes(one: Conductor) -> dict[str, Any]:
    return {config: one.race.mean(config) for config in one.entries}


def test_reports_from_which_nothing_follows_are_written_together(tmp_path: Path) -> None:
    clock = [0.0]
    one = conductor(tmp_path, study())
    one.ledger.journal = Journal(LocalStorage(tmp_path), now=lambda: clock[0])
    first, second = one.next(), one.next()
    assert first is not None
    assert second is not None
    before = len(journal(tmp_path))
    one.reported(first, 1, 0.5, [0.5])
    one.reported(second, 1, 0.5, [0.5])
    assert len(journal(tmp_path)) == before
    clock[0] = 1.0
    one.flush()
    assert len(journal(tmp_path)) == before + 2
    one.reported(first, 2, 0.6, [0.6])
    one.ended(second, "interrupted")
    assert len(journal(tmp_path)) == before + 2
    one.next()  # a task handed out rests on all that came before it
    assert [r["event"] for r in journal(tmp_path)[before + 2 :]] == ["reported", "ended", "started"]


def test_a_decision_is_on_disk_before_anybody_acts_on_it(tmp_path: Path) -> None:
    one = conductor(tmp_path, study(budget={"epochs": 2}))
    one.ledger.journal = Journal(LocalStorage(tmp_path), now=lambda: 0.0)
    first, second = one.next(), one.next()
    assert first is not None
    assert second is not None
    one.reported(first, 1, 0.5, [0.5])
    assert one.reported(second, 1, 0.5, [0.5])
    assert [r["event"] for r in journal(tmp_path)][-3:] == ["reported", "reported", "stopped"]


def test_a_journal_of_another_space_is_refused(tmp_path: Path) -> None:
    list(play(conductor(tmp_path, study())))
    other = study_of(study().document | {"train": {"lr": {"loguniform": [1e-3, 1e-2]}}}, "test")
    again = conductor(tmp_path, other)
    with pytest.raises(SonotuneError, match="configuration 0"):
        again.replay(again.ledger.journal.records)


@pytest.mark.parametrize("strange", [{"event": "paused"}, {"event": "resumed", "by": "somebody"}])
def test_what_a_newer_version_has_journaled_is_not_passed_over(
    strange: dict[str, Any], tmp_path: Path
) -> None:
    list(play(conductor(tmp_path, study())))
    again = conductor(tmp_path, study())
    records = [*again.ledger.journal.records[:2], strange]
    with pytest.raises(SonotuneError, match=r"record 3 .* of a newer sonotune; go on with the version"):
        again.replay(records)


def test_what_was_trained_elsewhere_is_journaled_but_not_handed_out(tmp_path: Path) -> None:
    def past(task: Task, configuration: Configuration) -> Past | None:
        if task.fold != "r0-f1":
            return None
        return Past([(0.5, (0.5,)), (0.6, (0.6,))], "complete", 0.6, (0.6,))

    one = conductor(tmp_path, study(), past)
    assert {task.fold for task in play(one)} == {"r0-f0", "r0-f2"}
    assert all(mean is not None for mean in outcomes(one).values())
    reused = [r for r in journal(tmp_path) if r.get("reused")]
    assert sum(r["event"] == "ended" for r in reused) == 6


def test_a_small_grid_ends_when_it_is_exhausted(tmp_path: Path) -> None:
    document = {"study": "grid", "model": {"width": {"choice": [4, 8]}}, "train": {"epochs": 1}}
    spec = study_of(document | {"search": {"sampler": "grid", "configs": 50}}, "test")
    one = conductor(tmp_path, spec)
    list(play(one))
    assert len(one.entries) == 2
    assert (
        one.done
        == "every configuration is complete or out; there are 2 of 50, for the sampler proposes no others"
    )
    again = resumed(conductor(tmp_path, spec))
    assert not list(play(again))
    assert again.done == one.done


def test_a_proposal_seen_before_is_not_trained_again(tmp_path: Path) -> None:
    document = {
        "study": "few",
        "model": {"width": {"choice": [4, 8]}},
        "train": {"epochs": 1},
        "race": {"rule": "none"},
    }
    spec = study_of(document | {"search": {"sampler": "random", "configs": 50}}, "test")
    one = conductor(tmp_path, spec)
    assert len(list(play(one))) == 2 * len(FOLDS)


def test_a_budget_of_epochs_ends_the_study_and_a_larger_one_goes_on(tmp_path: Path) -> None:
    one = conductor(tmp_path, study(budget={"epochs": 10}))
    list(play(one))
    assert one.ledger.epochs == 10
    assert one.done is not None
    assert "budget of 10 epochs" in one.done
    assert not list(play(resumed(conductor(tmp_path, study(budget={"epochs": 10})))))
    more = resumed(conductor(tmp_path, study(budget={"epochs": 14})))
    assert list(play(more))
    assert more.ledger.epochs == 14


def test_more_configurations_can_be_asked_for_later(tmp_path: Path) -> None:
    list(play(conductor(tmp_path, study(configs=2))))
    more = resumed(conductor(tmp_path, study(configs=5)))
    assert len({task.key for task in play(more)}) == 3
    assert len(more.entries) == 5


@pytest.mark.parametrize(("sampler", "rule"), [("random", "reserve"), ("tpe", "reserve"), ("qmc", "thaw"),
                                               ("random", "halving")])  # fmt: skip
def test_what_was_decided_under_a_limit_stands_when_more_are_asked_for_again_and_again(
    tmp_path: Path, sampler: str, rule: str
) -> None:
    spec, storage = study(sampler, rule, configs=6), LocalStorage(tmp_path)
    storage.write(RunPaths.study, dump(dict(spec.document)).encode())
    list(play(conductor(tmp_path, spec)))
    for configs in (12, 20):
        with Journal(storage) as log:
            more = conductor(tmp_path, change(storage, log, {"search.configs": configs}))
            more.replay(log.records)
        more.resumed()
        list(play(more))
    assert len(more.entries) > 6
    assert not list(play(resumed(conductor(tmp_path, more.study))))


def test_the_sampler_hears_of_a_failed_configuration_as_failed(tmp_path: Path) -> None:
    one = conductor(tmp_path, study("tpe", configs=3))
    task = one.next()
    assert task is not None
    one.ended(task, "failed")
    list(play(one))
    assert one.race.mean(task.key) is None
    assert sum(mean is not None for mean in outcomes(one).values()) == 2


@pytest.mark.parametrize("rule", ["reserve", "paired", "median", "halving"])
def test_what_the_user_asked_for_first_is_finished_however_bad_it_is(tmp_path: Path, rule: str) -> None:
    bad = [{"train.lr": 0.1, "loss.lambda": 0.5}]
    one = conductor(tmp_path, study(rule=rule, configs=12, first=bad))
    list(play(one))
    worst = next(iter(one.entries))
    assert one.race.mean(worst) == min(m for m in outcomes(one).values() if m is not None)


@pytest.mark.parametrize("told", ["reported", "ended"])
@pytest.mark.parametrize(("rule", "known"), [("one_se", 123.0), ("best_mean", None)])
def test_what_a_fold_measured_is_its_cost_where_the_pick_prefers_cheap_ones(
    tmp_path: Path, rule: str, known: float | None, told: str
) -> None:
    """Told with its first epoch, or no earlier than with its end, as of a fold that is taken over."""
    spec = study_of(study().document | {"select": {"rule": rule, "cost": "parameters"}}, "test")
    one = conductor(tmp_path, spec)
    task = one.next()
    assert task is not None
    figures = {"parameters": 123.0, "flops": 7.0}
    if told == "reported":
        one.reported(task, 1, 0.5, [0.5], figures=figures)
    else:
        one.ended(task, "complete", 0.5, [0.5], figures=figures)
    one.ledger.journal.commit()
    (record,) = [r for r in journal(tmp_path) if r["event"] == told]
    assert record.get("cost") == known
    again = conductor(tmp_path, spec)
    again.replay(again.ledger.journal.records)
    cost = again.race.field.heats[None].cost[0]
    assert cost == known or (known is None and cost != cost)


def test_the_checkpoints_of_a_failed_configuration_go_when_its_last_fold_has_ended(tmp_path: Path) -> None:
    one, storage = conductor(tmp_path, study(configs=2)), LocalStorage(tmp_path)
    keeper = Keeper(storage, one, most=10)
    left = []
    while (task := one.next()) is not None:
        storage.write(f"{RunPaths.checkpoint(task)}/last.pt", b"weights")
        one.reported(task, 1, 0.5, [0.5])
        one.ended(
            task, "failed" if task == Task(next(iter(one.entries)), "r0-f0") else "complete", 0.5, [0.5]
        )
        keeper.ended(task.key)
        left.append(storage.list(RunPaths.checkpoints))
    bad, good = one.entries
    assert left == [[bad], [bad], [], [good], [good], [good]]
    storage.write(f"{RunPaths.checkpoint(Task(bad, 'r0-f1'))}/last.pt", b"a worker's last word")
    keeper.sweep()
    assert storage.list(RunPaths.checkpoints) == [good]


def test_checkpoints_that_cannot_be_deleted_end_no_search_and_are_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> None:
        raise StorageError(f"cannot delete {path}: the rights are missing")

    one, storage = conductor(tmp_path, study(configs=3)), LocalStorage(tmp_path)
    monkeypatch.setattr(storage, "delete", refuse)
    keeper = Keeper(storage, one, most=1)
    for task in play(one):
        storage.write(f"{RunPaths.checkpoint(task)}/best.pt", b"weights")
        keeper.ended(task.key)
    keeper.sweep()
    (told,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert told.endswith("the rights are missing; checkpoints that cannot be deleted stay and take up room")


def test_the_networks_of_what_the_rule_would_pick_are_kept_whatever_its_mean(tmp_path: Path) -> None:
    document = study(configs=3).document | {"select": {"rule": "one_se", "cost": "parameters"}}
    one, storage = conductor(tmp_path, study_of(document, "test")), LocalStorage(tmp_path)
    keeper, scores = Keeper(storage, one, most=1), {}
    ladder = iter([((0.6, 0.65, 0.65), 1.0), ((0.5, 0.7, 0.9), 9.0), ((0.1, 0.1, 0.1), 0.5)])
    while (task := one.next()) is not None:
        values, cost = scores[task.key] = scores.get(task.key) or next(ladder)
        score = values[FOLDS.index(task.fold)]
        storage.write(f"{RunPaths.checkpoint(task)}/best.pt", b"weights")
        one.ended(task, "complete", score, [score], figures={"parameters": cost, "flops": cost})
        keeper.ended(task.key)
    cheap = next(iter(one.entries))
    assert one.picks() == {cheap}
    assert storage.list(RunPaths.checkpoints) == [cheap]


def test_where_the_rule_reads_what_only_a_report_knows_no_complete_configuration_is_deleted(
    tmp_path: Path,
) -> None:
    document = study(configs=3).document | {"select": {"rule": "median_rank", "metrics": ["auc_macro"]}}
    one, storage = conductor(tmp_path, study_of(document, "test")), LocalStorage(tmp_path)
    keeper = Keeper(storage, one, most=1)
    for task in play(one):
        storage.write(f"{RunPaths.checkpoint(task)}/best.pt", b"weights")
        keeper.ended(task.key)
    keeper.sweep()
    assert len(storage.list(RunPaths.checkpoints)) == 3


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("sampler", ["random", "tpe"])
@pytest.mark.parametrize("rule", sorted(RULES))
def test_what_breaks_a_bound_drops_nobody_and_is_not_trained_on(
    tmp_path: Path, rule: str, sampler: str, early: bool
) -> None:
    """The first two are far the best and too large: `early`, their first epoch tells."""
    one = conductor(tmp_path, study(sampler, rule, configs=6, constraints={"parameters": 100.0}))
    trained: dict[int, int] = {}
    epochs: Counter[int] = Counter()
    while (task := one.next()) is not None:
        number = list(one.entries).index(task.key)
        score, size = (0.9, 900.0) if number < 2 else (0.5 + number / 100, 9.0)
        for epoch in range(1, 4):
            extra = {"figures": {"parameters": size}} if early and epoch == 1 else {}
            told = one.reported(task, epoch, score, [score], **extra)
            epochs[number] += 1
            if task in told:
                one.ended(task, "frozen" if isinstance(told[task], Freeze) else "stopped")
                break
        else:
            figures = {"parameters": size, "flops": 1.0, "latency_ms": 1.0}
            one.ended(task, "complete", score, [score], figures=figures)
            trained[number] = trained.get(number, 0) + 1
    picked = one.picks()
    assert picked
    assert not picked & set(list(one.entries)[:2])
    assert one.race.leader() in picked
    if rule != "none":
        assert trained.get(0, 0) <= 1
        assert epochs[0] == 1 or not early
    if early:
        assert [one.entries[key].figures["parameters"] for key in one.entries][:2] == [900.0, 900.0]
    again = conductor(tmp_path, study(sampler, rule, configs=6, constraints={"parameters": 100.0}))
    again.replay(again.ledger.journal.records)
    assert again.picks() == picked


def test_values_that_contradict_each_other_are_passed_over(tmp_path: Path) -> None:
    """They may be too rare for the checks to come across."""
    spec = study(configs=3)
    rotation = {"p": 0.5, "low": {"choice": [0, 30]}, "high": {"choice": [60, 10]}}
    space = Space.of(dict(spec.document) | {"augment": {"rotation": rotation}})
    one = conductor(tmp_path, replace(spec, space=space))
    assert len({task.key for task in play(one)}) == 3
    again = conductor(tmp_path, replace(spec, space=space))
    again.replay(again.ledger.journal.records)
    assert list(again.entries) == list(one.entries)
    asked = [r for r in journal(tmp_path) if r["event"] == "asked"]
    assert len(asked) > 3

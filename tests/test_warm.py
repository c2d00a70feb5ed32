"""Runs made by the real sampler, race and journal; only the training is a formula."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from engine import folder
from engine.conductor import Conductor
from engine.driver import launch
from engine.errors import SonotuneError
from engine.folds.manifest import Fold, Manifest
from engine.journal.journal import Journal, read_journal
from engine.race.race import Race
from engine.sampler.mirror import Mirror
from engine.sampler.sampler import Past, Sampler
from engine.sampler.warm import _means, check_enough, check_warm, earlier
from engine.spec.load import study_of
from engine.spec.search import SamplerName
from engine.spec.study import Study
from engine.storage import LocalStorage, open_storage
from tests.sampled import replay

FOLDS = tuple(Fold(f"r0-f{i}", ("a",), ("b",), ("c",), 0, i) for i in range(3))
MANIFEST = Manifest(FOLDS, ("benign", "malignant"), 0)
HEAD = folder.Head("fingerprint", MANIFEST.digest, {})


def study(epochs: Any = 1, **search: Any) -> Study:
    wanted = {"sampler": "tpe", "configs": 6, "startup": 4} | search
    document = {
        "study": "toy",
        "data": {"source": "phantom"},
        "model": {"name": "unet_mtl"},
        "loss": {"lambda": {"uniform": [0.0, 1.0]}},
        "train": {"epochs": epochs, "lr": {"loguniform": [1e-4, 1e-1]}},
        "search": wanted,
        "race": {"rule": "none"},
    }
    return study_of(document, "toy.yaml")


def run(location: Path, toy: Study, most: int = 1000) -> Conductor:
    storage = LocalStorage(location)
    mirror = Mirror(storage, "toy", toy.space, toy.fixed.search.directions, toy.fixed.search.objectives)
    fixed = toy.fixed
    sampler = Sampler(fixed.search, toy.space, fixed.seed, first=toy.first)
    race = Race(fixed.race, MANIFEST.names, fixed.search.configs, fixed.seed)
    conductor = Conductor(
        toy,
        sampler,
        race,
        folder.begin(storage, toy, MANIFEST, HEAD, "sonotune search toy.yaml"),
        mirror=mirror,
    )
    for _ in range(most):
        task = conductor.next()
        if task is None:
            break
        score = quality(conductor.entries[task.key].params) + int(task.fold[-1]) / 10
        conductor.reported(task, 1, score, (score,))
        conductor.ended(task, "complete", score, (score,))
    return conductor


def quality(params: Mapping[str, Any]) -> float:
    return 1 - abs(params["loss.lambda"] - 0.3)


def test_complete_configurations_of_an_earlier_run_are_found_with_their_mean(tmp_path: Path) -> None:
    toy = study()
    first = run(tmp_path, toy)
    past, notes = earlier([str(tmp_path)], toy.fixed.search)
    assert notes == []
    assert [one.params for one in past] == [entry.params for entry in first.entries.values()]
    assert [one.values for one in past] == [[pytest.approx(quality(one.params) + 0.1)] for one in past]


def test_what_was_trained_for_outer_folds_is_learned_from_as_well(tmp_path: Path) -> None:
    toy = study()
    first = run(tmp_path, toy)
    best = max(first.entries, key=lambda key: quality(first.entries[key].params))
    with Journal(LocalStorage(tmp_path)) as journal:
        task = {"key": best, "fold": "o0"}
        journal.append({"event": "ended", "task": task, "status": "complete", "score": 0.0, "values": [0.0]})
    past, _ = earlier([str(tmp_path)], toy.fixed.search)
    assert len(past) == 6
    assert [one.values for one in past] == [[pytest.approx(quality(one.params) + 0.1)] for one in past]


def test_a_configuration_that_several_runs_share_is_learned_once(tmp_path: Path) -> None:
    toy = study()
    for name, most in (("whole", 1000), ("half", 9)):
        run(tmp_path / name, toy, most).close()
    whole, half = ([str(tmp_path / name)] for name in ("whole", "half"))
    assert len(earlier(half, toy.fixed.search)[0]) == 3
    assert earlier(whole + half + whole, toy.fixed.search) == earlier(whole, toy.fixed.search)


def test_values_that_differ_between_runs_are_all_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = study()
    run(tmp_path / "one", toy).close()
    monkeypatch.setitem(globals(), "quality", lambda params: 0.5)
    run(tmp_path / "two", toy, 12).close()
    past, _ = earlier([str(tmp_path / "one"), str(tmp_path / "two")], toy.fixed.search)
    assert len(past) == 10


def test_a_configuration_with_a_missing_fold_is_left_out(tmp_path: Path) -> None:
    toy = study()
    run(tmp_path, toy, most=4).close()
    past, _ = earlier([str(tmp_path)], toy.fixed.search)
    assert len(past) == 1


def test_what_is_to_be_small_is_learned_as_it_is_measured() -> None:
    """The race holds it turned, so that higher is better."""
    assert _means({"a": [0.5, -0.2], "b": [0.7, -0.4]}, [1, -1]) == pytest.approx([0.6, 0.3])


def test_a_run_with_another_objective_teaches_nothing(tmp_path: Path) -> None:
    run(tmp_path, study())
    past, notes = earlier([str(tmp_path)], study(objective="iou").fixed.search)
    assert past == []
    assert "another objective" in notes[0]


@pytest.mark.parametrize("sampler", ["random", "grid", "qmc", "nsga2"])
def test_a_sampler_that_takes_no_notice_of_earlier_runs_is_not_warmed(sampler: SamplerName) -> None:
    told = f"no effect with sampler {sampler}, which does not learn .* one of tpe, motpe, gp, cmaes"
    with pytest.raises(SonotuneError, match=told):
        check_warm(sampler, ["runs/old"])
    check_warm(sampler, [])


@pytest.mark.parametrize("sampler", ["tpe", "gp", "cmaes"])
def test_a_sampler_that_may_be_warmed_proposes_otherwise_when_it_is(sampler: SamplerName) -> None:
    check_warm(sampler, ["runs/old"])
    toy = study(sampler=sampler)
    cold, warm = (Sampler(toy.fixed.search, toy.space, 0) for _ in range(2))
    warm.warm(Past({"loss.lambda": n / 10, "train.lr": 1e-3}, [float(n)], {}) for n in range(10))
    assert cold.ask() != warm.ask()


@pytest.mark.parametrize("epochs", [5, {"int": [1, 9]}])
def test_generations_begin_where_the_best_tenth_of_earlier_runs_lies(epochs: Any) -> None:
    """Also where whole numbers are among them, and with a choice, which no generation covers."""
    toy = study(epochs=epochs, sampler="cmaes")
    drawn = Sampler(study(epochs=epochs, sampler="random").fixed.search, toy.space, 9)
    past = []
    for _ in range(40):
        asked = drawn.ask()
        assert asked is not None
        past.append(Past(asked.params, [-abs(float(asked.params["loss.lambda"]) - 0.9)], {}))
    warm = Sampler(toy.fixed.search, toy.space, 0)
    assert warm.warm(past) == (40, 0)
    proposed = [warm.ask() for _ in range(12)]
    near = [abs(float(one.params["loss.lambda"]) - 0.9) < 0.25 for one in proposed if one]
    assert sum(near) >= 9  # of a space in which a third lies as near


def test_too_few_earlier_configurations_for_a_generation_are_refused() -> None:
    toy = study(sampler="cmaes")
    past = [Past({"loss.lambda": n / 10, "train.lr": 1e-3}, [float(n)], {}) for n in range(10)]
    check_enough(toy.fixed.search, toy.space, past)
    check_enough(toy.fixed.search, toy.space, [])
    with pytest.raises(SonotuneError, match=r"has 9 complete configurations .* cmaes begins with 10"):
        check_enough(toy.fixed.search, toy.space, past[:9])


def test_a_note_on_an_earlier_run_shows_no_key_of_its_address(tmp_path: Path) -> None:
    run(tmp_path, study())
    uri = "memory://warm?secret_key=SECRET"
    storage = open_storage(uri)
    for path in ("study.yaml", "folds.json", "journal.jsonl"):
        storage.write(path, (tmp_path / path).read_bytes())
    _, notes = earlier([uri], study(objective="iou").fixed.search)
    assert notes == ["memory://warm had another objective: nothing is learned from it"]


def test_what_was_learned_is_replayed_from_the_journal(tmp_path: Path) -> None:
    toy = study()
    run(tmp_path / "old", toy)
    past, _ = earlier([str(tmp_path / "old")], toy.fixed.search)
    sampler = Sampler(toy.fixed.search, toy.space, 3)
    assert sampler.warm(past) == (6, 0)
    with Journal(LocalStorage(tmp_path / "new")) as journal:
        journal.append({"event": "warm", "past": [asdict(one) for one in past]})
        asked = [sampler.ask() for _ in range(4)]
        for one in asked:
            assert one is not None
            journal.append({"event": "asked", "number": one.number, "params": one.params})
    again = Sampler(toy.fixed.search, toy.space, 3)
    replay(again, read_journal(LocalStorage(tmp_path / "new"))[0])
    assert again.ask() == sampler.ask()
    assert isinstance(past[0], Past)


@pytest.mark.faults
def test_a_driver_that_dies_at_once_has_lost_no_earlier_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: Any) -> None:
        raise KeyboardInterrupt

    old, new = str(tmp_path / "old"), str(tmp_path / "new")
    run(tmp_path / "old", study())
    monkeypatch.setattr(launch, "Session", dies)
    with pytest.raises(KeyboardInterrupt):
        launch.search(study(), new, Console(quiet=True), reuse=[old], warm_from=[old])
    begun = {record["event"]: record for record in read_journal(LocalStorage(tmp_path / "new"))[0]}
    assert begun["reuse"]["places"] == [old]
    assert len(begun["warm"]["past"]) == 6


def test_the_mirror_shows_a_whole_search(tmp_path: Path) -> None:
    import optuna
    from optuna.storages.journal import JournalFileBackend

    toy = study()
    conductor = run(tmp_path, toy)
    conductor.close()
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(tmp_path / "optuna.log")))
    seen = optuna.load_study(study_name="toy", storage=storage)
    assert len(seen.trials) == 6
    for trial, entry in zip(seen.trials, conductor.entries.values(), strict=True):
        found = quality(entry.params)
        assert trial.value == pytest.approx(found + 0.1)
        means = trial.intermediate_values
        assert list(means) == [1, 2, 3]
        assert round(means[1] - found, 6) in (0.0, 0.1, 0.2)  # whichever fold it began with
        assert means[3] == pytest.approx(trial.value)

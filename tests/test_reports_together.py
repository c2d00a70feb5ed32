"""Several runs in one report: on the same folds, or refused."""

from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import SonotuneError
from engine.spec.select import Select
from reports.aggregate import figures
from reports.load import load
from reports.study import study_of
from reports.together import together
from tests.runs import Plan, make_run


def test_runs_on_the_same_folds_lie_side_by_side(tmp_path: Path) -> None:
    runs = [
        load(str(make_run(tmp_path / name, Plan(configs=n, name=name)))) for name, n in (("a", 3), ("b", 2))
    ]
    both = together(runs, str(tmp_path / "out"))
    assert len(both.configs) == 5
    known = figures(both)
    study = study_of(both, Select(baseline=runs[1].configs[0].id + "·2"))
    assert set(study.test.configs) == set(known.configs)


def test_a_run_without_a_finished_fold_may_come_first(tmp_path: Path) -> None:
    begun = load(str(make_run(tmp_path / "a", Plan(configs=2, dropped=2, name="a"))))
    done = load(str(make_run(tmp_path / "b", Plan(configs=2, name="b"))))
    both = together([replace(begun, classes=()), done], str(tmp_path / "out"))
    assert both.classes == done.classes


def test_runs_that_pick_otherwise_say_so(tmp_path: Path) -> None:
    runs = [load(str(make_run(tmp_path / name, Plan(configs=2, name=name)))) for name in ("a", "b")]
    other = replace(runs[1], study=dict(runs[1].study) | {"select": {"rule": "one_se"}})
    assert not together(runs, str(tmp_path / "out")).manifest["warnings"]
    told = together([runs[0], other], str(tmp_path / "out")).manifest["warnings"]
    assert told == ["b picks by another select or search.constraints; those of a count here"]


def test_runs_on_other_folds_are_refused_with_the_reason(tmp_path: Path) -> None:
    runs = [load(str(make_run(tmp_path / str(s), Plan(configs=2, seed=s)))) for s in (0, 1)]
    with pytest.raises(SonotuneError, match=r"fold r0-f0 has other train cases"):
        together(runs, str(tmp_path / "out"))
    goal = replace(runs[0], study={"search": {"objective": "hd95"}})
    with pytest.raises(SonotuneError, match=r"different objectives \(search\.objective\)"):
        together([runs[0], goal], str(tmp_path / "out"))
    other = load(str(make_run(tmp_path / "k", Plan(configs=2, folds=4))))
    with pytest.raises(SonotuneError, match="r0-f3"):
        together([runs[0], other], str(tmp_path / "out"))

# ruff: noqa: E501 (a table with a row per line)
"""A table of mistakes in a space: each ends in one message, exit code 2, no traceback, and nothing on the disk."""

from pathlib import Path
from typing import Any

import pytest

from engine.spec.load import load
from tests.refusals import Refused, space

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)
)


def test_the_base_of_the_table_is_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(space()).name == "table"


TEXTS: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "space.yaml is empty; a search space starts with `study: <name>`"),
    "only a comment": ("# nothing\n", "is empty"),
    "a list": ("- 1\n- 2\n", "holds a list; it must hold a mapping"),
    "a bomb": (BOMB, "unfolds to more than 50000 values"),
    "a list inside itself": ("study: x\ndata: &a [*a]\n", "found unconstructable recursive node"),
    "deep nesting": ("study: " + "[" * 5000, "not readable as YAML"),
    "a duplicate key": ("study: x\nseed: 1\nseed: 2\n", "line 3, column 1: 'seed' is given twice"),
    "a duplicate key further in": ("study: x\nloss:\n  gamma: 1\n  gamma: 2\n", "line 4, column 3: 'gamma'"),
    "no YAML": ("study: [x\nseed: 1\n", "space.yaml line 2"),
    "a tab": ("study: x\nloss:\n\tgamma: 1\n", "line 3"),
    "a tag": ("study: !!python/object/apply:os.system [ls]\n", "line 1"),
    "two documents": ("study: x\n---\nstudy: y\n", "line 2"),
    "no text": (b"\xff\xfe\x00\x01", "is not UTF-8 text"),
    "control characters": ("study: \x00x\n", "not readable as YAML"),
    "too long": ("# " + "x" * 1_000_001, "a search space has at most 1000000"),
    "a section without a leaf": (
        "study: x\nsearch:\n# configs: 3\n",
        "search: got None; should be a mapping of names to",
    ),
    "a section as a list": (
        "study: x\nfolds:\n- k: 3\n",
        "folds: got [{'k': 3}]; should be a mapping of names",
    ),
    "a name that is a number": (
        "study: 2024\n",
        "study: got 2024; should be a text; put it in quotes: '2024'",
    ),
    "no study": ("seed: 1\n", "study: is missing; it has no default"),
}


@pytest.mark.parametrize("case", TEXTS)
def test_a_file_that_is_no_space_is_refused(case: str, refused: Refused) -> None:
    content, told = TEXTS[case]
    Path("space.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    message = refused("search", "space.yaml", "--run", "run")
    assert message.startswith("error: space.yaml")
    assert told in message


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "unknown section": ({"lose": {}}, "lose: there is no such name; did you mean 'loss'?"),
    "unknown key": ({"loss__lamda": 0.5}, "loss.lamda: there is no such name; did you mean 'lambda'?"),
    "unknown key, fixed": ({"folds__kk": 3}, "folds.kk: there is no such name"),
    "wrong type": ({"train__epochs": "many"}, "train.epochs: got 'many'; should be a valid integer"),
    "true for a number": ({"train__epochs": True}, "train.epochs: got True; should be a number, not true"),
    "half an epoch": ({"train__epochs": 1.5}, "train.epochs: got 1.5; should be a valid integer"),
    "section is a value": ({"loss": 3}, "loss: got 3; it must be a mapping of names to values"),
    "section is a distribution": ({"loss": {"choice": [1]}}, "loss: got {'choice': [1]}; it must be a map"),
    "not a number": ({"train__lr": float("nan")}, "train.lr: got nan; should be a finite number"),
    "infinite": ({"train__timeout": float("inf")}, "train.timeout: got inf; should be a finite number"),
    "lambda above 1": ({"loss__lambda": 1.5}, "loss.lambda: got 1.5; should be less than or equal to 1"),
    "lambda below 0": ({"loss__lambda": -0.1}, "loss.lambda: got -0.1; should be greater than or equal to 0"),
    "lambda may leave [0, 1]": ({"loss__lambda": {"uniform": [0, 2]}}, "loss.lambda: got 2.0; should be less"),
    "one fold": ({"folds__k": 1}, "folds.k: got 1; should be greater than or equal to 2"),
    "too many folds": ({"folds__k": 9}, "folds.k=9 needs at least 9 cases"),
    "no validation": ({"folds__validation": 0}, "folds.validation: got 0; should be greater than 0"),
    "one class": ({"data__classes": ["benign"]}, "data.classes: got ['benign']; should have at least 2 items"),
    "normal otherwise": ({"data__classes": ["benign", "Normal"]}, "is written 'normal', got 'Normal'"),
    "a class named as figures are": ({"data__classes": ["macro", "benign"]}, "a class cannot be named 'macro'"),
    "a class twice": ({"data__classes": ["a", "a"]}, "classes must differ"),
    "unknown source": ({"data__source": "buzi"}, "data.source: got 'buzi'"),
    "data that are not there": ({"data__source": "busi", "data__root": "/nowhere"}, "'/nowhere' does not exist"),
    "data without a place": ({"data__source": "busi"}, "source busi needs root"),
    "low above high": ({"loss__lambda": {"uniform": [0.9, 0.1]}}, "loss.lambda: uniform needs low < high"),
    "low is high": ({"train__batch": {"int": [4, 4]}}, "train.batch: int needs low < high, got [4, 4]"),
    "one bound": ({"loss__lambda": {"uniform": [0.1]}}, "loss.lambda: uniform needs [low, high] as numbers"),
    "bounds are words": ({"loss__lambda": {"uniform": ["a", "b"]}}, "uniform needs [low, high] as numbers"),
    "loguniform from 0": ({"train__lr": {"loguniform": [0, 1]}}, "lower bound above 0, got 0"),
    "step of 0": ({"train__batch": {"int": [1, 8, 0]}}, "a step of at least 1"),
    "half steps": ({"train__batch": {"int": [1, 8.5]}}, "int needs whole numbers"),
    "empty choice": ({"train__optimizer": {"choice": []}}, "train.optimizer: choice needs a list of values"),
    "choice without branches": ({"train__optimizer": {"choice": {}}}, "with at least one of them"),
    "choice repeats": ({"train__optimizer": {"choice": ["adam", "adam"]}}, "choice repeats a value"),
    "wrong choice": ({"train__optimizer": {"choice": ["adam", "adan"]}}, "train.optimizer: got 'adan'; should be"),
    "misspelt distribution": ({"loss__lambda": {"unifrom": [0, 1]}}, "loss.lambda: got {'unifrom': [0, 1]}"),
    "nothing to search": ({"loss__lambda": 0.5, "train__lr": 0.1}, "there is nothing to search"),
    "searched folds": ({"folds__k": {"int": [2, 5]}}, "folds.k: int stands where nothing can be searched"),
    "searched seed": ({"seed": {"choice": [1, 2]}}, "seed: choice stands where nothing can be searched"),
    "unknown model": ({"model__name": "unet_mlt"}, "model.name: there is no model 'unet_mlt'; did you mean 'unet_mtl'?"),
    "foreign switch": ({"model__gate": True}, "model.gate=True: unet_mtl has no gate"),
    "stride": ({"data__size": 30}, "an image size of 30 is not divisible by 4"),
    "momentum above 1": ({"train__betas": [1.5, 0.9]}, "train.betas.0: got 1.5; should be less than 1"),
    "lambda of no second task": ({"model__tasks": ["segment"]}, "loss.lambda: is searched, but no model of"),
    "a range of whole numbers": ({"train__batch": {"loguniform": [4, 16]}}, "train.batch: got"),
    "choices that contradict": (
        {"augment": {"rotation": {"p": 0.5, "low": {"choice": [0, 30]}, "high": {"choice": [60, 10]}}}},
        "low must not exceed high",
    ),
    "public weights of another norm": (
        {"model": {"name": "unet_r18", "norm": "group", "weights": "imagenet"}},
        "weights='imagenet' with norm='group' in unet_r18",
    ),
    "masks as the goal of a second stage": (
        {"model": {"two_stage": {"segment": {"name": "unet_mtl", "tasks": ["segment"], "width": 4, "depth": 2},
          "classify": {"name": "unet_mtl", "tasks": ["classify"], "width": 4, "depth": 2},
          "masks": "truth"}},
         "loss": {}, "search__objective": "dice", "train": {},
         "predict__threshold": {"uniform": [0.3, 0.6]}},
        "search.objective: dice is of the masks, which the second stage takes as they are",
    ),
    "loss of no task": ({"model__tasks": ["segment"], "loss__classification": "focal"}, "does not classify"),
    "unknown metric": ({"search__objective": "dise"}, "search.objective: dise: there is no such name; did you"),
    "a sum that wants more of an error": (
        {"search__objective": {"dice": 1, "brier": 1}}, "brier has weight 1, but less is better; give one below 0"
    ),
    "a sum that wants less of a gain": (
        {"search__objective": {"dice": -0.5, "f1_macro": 1}}, "dice has weight -0.5, but more is better; give one above 0"
    ),
    "metric of no epoch": ({"search__objective": "hd95"}, "hd95 is measured when a fold ends, not at each"),
    "metric of no task": (
        {"search__objective": "accuracy", "model__tasks": ["segment"]},
        "search.objective: asks for accuracy, which model 'unet_mtl' does not have",
    ),
    "metric twice": ({"search__objective": ["dice", "dice"]}, "names a metric twice"),
    "unknown metric to pick by": ({"select__metrics": ["dyce"]}, "select.metrics: dyce: there is no such name"),
    "a baseline that is no id": ({"select__baseline": "best"}, "select.baseline: got 'best'"),
    "the id of a baseline": ({"select__baseline": "x9"}, "should be `first`, or a configuration's id of ten hex"),
    "a class with a space": (
        {"data__classes": ["a b", "c"]}, "data.classes.0: got 'a b'; should be a letter, then letters"
    ),
    "a word in the place of a list": ({"tracking": "mlflow"}, "tracking: got 'mlflow'; should be a list"),
    "nothing in the place of names": (
        {"search__budget": None}, "search.budget: got None; should be a mapping of names to values; {} leaves"
    ),
    "a distribution with a typo": (
        {"model__width": {"choise": [4, 8]}}, "or a distribution: one of uniform, loguniform, int, choice"
    ),
    "unknown sampler": ({"search__sampler": "tpee"}, "search.sampler: got 'tpee'"),
    "motpe for one": ({"search__sampler": "motpe"}, "motpe needs an objective that lists several"),
    "first is outside": (
        {"search__first": [{"loss.lambda": 2}]},
        "search.first: loss.lambda: got 2; it must lie in uniform [0, 1]",
    ),
    "first is not searched": ({"search__first": [{"loss.gamma": 2}]}, "search.first: loss.gamma: there is no"),
    "first without paper": ({"search__first": "paper"}, "the space marks no configuration as `paper:`"),
    "first is a word": ({"search__first": "papers"}, "search.first: got 'papers'"),
    "paper is a word": ({"search__first": "paper", "paper": "yes"}, "paper: got 'yes'; give a mapping"),
    "paper is outside": ({"search__first": "paper", "paper": {"loss": {"lambda": 7}}}, "loss.lambda: got 7"),
    "variant is a value": ({"variants": {"a": 3}}, "variants.a: got 3; it must be a mapping"),
    "variant has a typo": ({"variants": {"a": {"los": {}}}}, "los: there is no such name; did you mean 'loss'?"),
    "variant is wrong": ({"variants": {"a": None, "b": {"loss": {"gamma": -1}}}}, "(with variants=b)"),
    "no such rule": ({"race__rule": "nonne"}, "race.rule: got 'nonne'"),
    "no such tracker": ({"tracking": ["tensorbord"]}, "tracking.0: got 'tensorbord'"),
    "a GPU and a half": ({"resources__gpu": 1.5}, "resources.gpu: got 1.5; must be whole, or a part of one GPU"),
    "no workers": ({"resources__workers": 0}, "resources.workers: got 0; should be greater than or equal to 1"),
    "name is a path": ({"study": "../x"}, "study: got '../x'; study must be letters"),
    "negative seed": ({"seed": -1}, "seed: got -1; should be greater than or equal to 0"),
    "profiles is a list": ({"profiles": [1]}, "profiles: must map each profile's name"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_in_a_space_is_refused(case: str, refused: Refused) -> None:
    changes, told = MISTAKES[case]
    message = refused("search", space(**changes), "--run", "run")
    assert message.startswith("error: ")
    assert told in message.replace("\n", " ")


OPTIONS: dict[str, tuple[list[str], str]] = {
    "no file": (["search", "nowhere.yaml"], "there is no file nowhere.yaml; `sonotune spaces` lists"),
    "a folder": (["search", "."], "is not a file"),
    "unknown profile": (["--profile", "smoky"], "there is no profile 'smoky'; this space has: smoke"),
    "--set without value": (["--set", "loss.lambda"], "must be NAME=VALUE"),
    "--set without path": (["--set", "=3"], "must be NAME=VALUE"),
    "--set of nothing known": (["--set", "loss.lamda=1"], "loss.lamda: there is no such name; did you mean"),
    "--set below a value": (["--set", "loss.lambda.x=1"], "'lambda' holds a value, not names"),
    "--set of a wrong type": (["--set", "train.epochs=ten"], "train.epochs: got 'ten'"),
    "--set of no YAML": (["--set", "train.betas=[1"], "--set train.betas"),
    "--set of every nothing": (["--set", "variants.*.model.width=3"], "there is nothing that `*` could"),
    "unknown option": (["--sett", "a=1"], "No such option"),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_a_mistake_in_an_option_is_refused(case: str, refused: Refused) -> None:
    words, told = OPTIONS[case]
    whole = words if words[0] == "search" else ["search", str(space()), "--run", "run", *words]
    assert told in refused(*whole)


def test_an_override_that_every_variant_hides_is_refused(refused: Refused) -> None:
    path = space(variants={"a": {"loss": {"lambda": 0.2}}, "b": {"loss": {"lambda": 0.8}}})
    told = refused("search", path, "--set", "loss.lambda=0.5")
    assert "override variants.*.loss.lambda" in told


def test_all_mistakes_of_a_file_are_told_at_once(refused: Refused) -> None:
    path = space(
        loss__lambda=7, loss__gama=1, folds__k=1, train__lr={"uniform": [2, 1]}, race__rule="x", extra=1
    )
    told = refused("search", path)
    assert "6 problems" in told
    for name in ("extra:", "folds.k:", "race.rule:", "train.lr:", "loss.lambda:", "loss.gama:"):
        assert f"  - {name}" in told


def test_one_place_is_told_once(refused: Refused) -> None:
    told = refused("search", space(resources__workers="all"))
    assert told.count("resources.workers") == 1
    assert "should be a valid integer" in told
    assert "'auto'" in told
    assert refused("search", space(folds__k={"int": [2, 5]})).count("folds.k") == 1

"""The walls between the rooms: who may import whom, read from the sources, and what really gets loaded."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.runs import make_run

ROOT = Path(__file__).parents[1]

# Neither Ray nor torch, not even lazily.
PURE = (
    "engine/spec", "engine/race", "engine/journal", "engine/lock", "engine/folds", "engine/sampler",
    "engine/results.py", "engine/storage.py", "engine/persist.py", "engine/file_systems.py",
    "engine/folder.py", "engine/changes.py", "engine/past.py",
    "engine/conductor.py", "engine/ledger.py", "engine/proposals.py", "engine/finals.py", "engine/picking.py",
    "engine/objective.py", "engine/task.py", "engine/words.py", "engine/metrics/fold.py", "reports",
)  # fmt: skip
REPORTS_MAY_READ = (
    "engine.spec", "engine.journal", "engine.results", "engine.metrics", "engine.storage", "engine.errors",
    "engine.file_systems", "engine.task", "engine.folds.manifest", "engine.picking", "engine.lock",
    "engine.words",
)  # fmt: skip


def sources(*places: str) -> list[Path]:
    found: list[Path] = []
    for place in places:
        path = ROOT / place
        found += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return found


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def test_no_file_is_longer_than_250_lines() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in sources("engine", "reports")}
    assert [str(path.relative_to(ROOT)) for path, lines in lengths.items() if lines > 250] == []


def roots(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported(path)}


@pytest.mark.parametrize("path", sources(*PURE), ids=lambda p: str(p.relative_to(ROOT)))
def test_a_pure_room_imports_neither_ray_nor_torch(path: Path) -> None:
    assert not roots(path) & {"ray", "torch", "monai"}


def test_only_the_driver_and_the_doctor_import_ray() -> None:
    allowed = {ROOT / "engine/doctor.py", *sources("engine/driver")}
    strangers = [p for p in sources("engine", "reports") if "ray" in roots(p) and p not in allowed]
    assert strangers == []


@pytest.mark.parametrize("path", sources("reports"), ids=lambda p: p.name)
def test_reports_see_the_run_folder_and_little_else_of_the_engine(path: Path) -> None:
    engine = {name for name in imported(path) if name.split(".")[0] == "engine"}
    assert {name for name in engine if not name.startswith(REPORTS_MAY_READ)} == set()


def loaded_by(code: str, heavy: tuple[str, ...]) -> list[str]:
    code = f"import sys\n{code}\nprint([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    return ast.literal_eval(done.stdout.strip())


@pytest.mark.parametrize("module", ["engine.cli.app", "engine.spec.load", "engine.race.race", "reports.write",
                                    "engine.conductor", "engine.models.registry"])  # fmt: skip
def test_a_light_module_loads_without_torch_ray_and_monai(module: str) -> None:
    assert loaded_by(f"import {module}", ("torch", "ray", "monai")) == []


def test_a_worker_loads_nothing_that_only_its_driver_needs() -> None:
    """With many slots on few cores, workers wait for one another's imports."""
    driver_only = ("scipy", "optuna", "sklearn", "engine.race", "engine.sampler", "engine.conductor")
    assert loaded_by("import engine.driver.worker", driver_only) == []


def test_a_driver_starts_without_what_only_some_rules_and_samplers_need() -> None:
    assert loaded_by("import engine.driver.launch", ("scipy.stats",)) == []


def test_folds_are_dealt_without_a_library_that_takes_as_long_to_load_as_the_rest_of_a_driver() -> None:
    dealt = """
import numpy as np
from engine.folds.dealing import evenly
evenly(np.arange(30) % 3, np.arange(30) // 2, 3, np.random.default_rng(0))
"""
    assert loaded_by(dealt, ("scipy.stats", "sklearn", "pandas")) == []


def names(requirements: Iterable[str]) -> set[str]:
    return {canonicalize_name(Requirement(text).name) for text in requirements}


def test_a_report_wants_nothing_that_only_an_extra_brings(tmp_path: Path) -> None:
    """Optuna's fANOVA, for one, imports scikit-learn only when it is called, and does not depend on it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {name for lines in project["optional-dependencies"].values() for name in names(lines)}
    lacking = extras - names(project["dependencies"])
    modules = packages_distributions().items()
    gone = [module for module, owners in modules if {canonicalize_name(owner) for owner in owners} <= lacking]
    bare = f"""
sys.modules.update(dict.fromkeys({gone}))
from rich.console import Console
from reports.command import page
page([{str(make_run(tmp_path))!r}], None, None, Console(file=sys.stderr))
"""
    assert loaded_by(bare, ("optuna",)) == ["optuna"]
    assert (tmp_path / "report/tables/importance.csv").exists()


def test_training_loads_no_compiler_and_no_library_that_only_other_studies_need(tmp_path: Path) -> None:
    """Each of these would cost every worker a second or more before its first epoch."""
    document = {
        "study": "light", "data": {"source": "phantom", "count": 24, "size": 32}, "folds": {"k": 2},
        "model": {"name": "unet_mtl", "width": 4, "depth": 2},
        "train": {"epochs": 1, "batch": 8}, "augment": {"preset": "none"},
    }  # fmt: skip
    train = f"import pathlib, tests.trained as t; t.finished_run(pathlib.Path({str(tmp_path)!r}), {document})"
    heavy = ("torch._dynamo", "monai", "albumentations", "optuna", "matplotlib")
    assert loaded_by(train, heavy) == []

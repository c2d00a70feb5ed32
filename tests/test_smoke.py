"""Each search space that comes along, searched for real in its smoke profile: Ray, folds, report."""

import json
import time
from pathlib import Path

import pytest
from rich.console import Console

from engine.spec.load import load

FOLDER = Path(__file__).parents[1] / "searchspaces"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SECONDS = 240  # of one search on a busy machine; alone on two cores each takes about 20


@pytest.mark.smoke
@pytest.mark.timeout(SECONDS * 2)
@pytest.mark.parametrize("name", NAMES)
def test_the_smoke_profile_trains_its_configurations_and_reports(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.driver import launch
    from reports.write import write

    monkeypatch.setenv("SONOTUNE_CACHE", str(tmp_path / "cache"))
    began = time.monotonic()
    run = tmp_path / "run"
    study = load(FOLDER / f"{name}.yaml", "smoke", ["resources.workers=2"])
    outcome = launch.search(study, str(run), Console(quiet=True))
    assert outcome.failure is None
    assert Path(write(str(run))).exists()
    summary = json.loads((run / "report/summary.json").read_text())
    assert [c["status"] for c in summary["configs"]] == ["complete", "complete"]
    assert summary["picked"]["config_id"] in {c["config_id"] for c in summary["configs"]}
    assert time.monotonic() - began < SECONDS

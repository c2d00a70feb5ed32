"""Each search space that comes along, searched for real in its smoke profile, reported and predicted with."""

import json
from pathlib import Path

import cv2
import pytest
from rich.console import Console

from engine.data.phantom import generate
from engine.spec.load import load

FOLDER = Path(__file__).parents[1] / "searchspaces"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))


@pytest.mark.smoke
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", NAMES)
def test_a_smoke_profile_is_searched_reported_and_predicted_with(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.driver import launch
    from engine.predict.ensemble import load_picked
    from engine.predict.predict import predict
    from reports.write import write

    monkeypatch.setenv("SONOTUNE_CACHE", str(tmp_path / "cache"))
    run = tmp_path / "run"
    study = load(FOLDER / f"{name}.yaml", "smoke", ["resources.workers=1"])  # a second starts no sooner
    outcome = launch.search(study, str(run), Console(quiet=True))
    assert outcome.failure is None
    assert Path(write(str(run))).exists()
    summary = json.loads((run / "report/summary.json").read_text())
    assert [c["status"] for c in summary["configs"]] == ["complete", "complete"]
    assert summary["picked"]["config_id"] in {c["config_id"] for c in summary["configs"]}
    cv2.imwrite(str(tmp_path / "new.png"), generate(3, 64, ("benign", "malignant", "normal"), 1)[0][0])
    (found,) = predict(load_picked(str(run), "cpu"), [tmp_path / "new.png"], tmp_path / "out")
    assert found.label in (None, *study.fixed.data.classes)
    assert Path(str(found.overlay)).exists()

"""Segment, then classify what was segmented: no leak between the stages, and no stage trained twice."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from engine.conductor import Conductor
from engine.data.cases import Pack
from engine.data.load import load
from engine.driver import launch
from engine.errors import SonotuneError
from engine.folds.inner import inner_parts
from engine.folds.make import make_folds
from engine.journal.journal import Journal, read_journal
from engine.models import registry
from engine.models.contract import Prediction
from engine.models.row import SEGMENT, Row
from engine.models.staged import Fed, TwoStages
from engine.objective import objectives
from engine.preflight import check_study, impossible
from engine.race.race import Race
from engine.results import FoldResult, RunPaths, damaged_files, read_result, read_table
from engine.sampler.sampler import Sampler
from engine.spec.load import study_of
from engine.spec.study import Configuration, FirstStage, Study
from engine.storage import LocalStorage
from engine.task import Task
from engine.training.job import Job, Parts, make_job
from engine.training.masks import read_masks
from engine.training.numerics import Numerics
from engine.training.run_task import train_task

torch.set_num_threads(1)

SEGMENTER = {"name": "unet_mtl", "width": 4, "depth": 2, "loss": {"segmentation": "dice_ce"},
             "train": {"epochs": 2, "batch": 8, "lr": 1e-2}}  # fmt: skip
CLASSIFIER = {"name": "unet_mtl", "width": 4, "depth": 2, "train": {"epochs": 2, "batch": 8, "lr": 1e-3}}
TWO: dict[str, Any] = {"segment": SEGMENTER, "classify": CLASSIFIER, "inner_folds": 2}


def document(**changes: Any) -> dict[str, Any]:
    return {
        "study": "two-stage",
        "data": {"source": "phantom", "count": 48, "size": 32},
        "folds": {"k": 2},
        "model": {"two_stage": TWO | changes},
        "predict": {"threshold": 0.4},
    }


def study(**changes: Any) -> Study:
    return study_of(document(**changes), "test")


def configuration(**changes: Any) -> Configuration:
    return study(**changes).configuration({})


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return load(study().fixed.data, tmp_path_factory.mktemp("cache"))


def job_of(spec: Configuration | FirstStage, pack: Pack) -> Job:
    fixed = study().fixed
    fold = make_folds(pack, fixed.folds).folds[0]
    key = spec.key if isinstance(spec, FirstStage) else spec.config_id
    goals = objectives(fixed.search)
    return make_job(
        Task(key, fold.name),
        spec.record(),
        fold,
        pack,
        fixed.folds,
        0,
        Numerics("cpu", "off", 1),
        goals,
        "best",
    )


def first_of(spec: Configuration) -> FirstStage:
    assert spec.first_stage is not None
    return spec.first_stage


def run(job: Job, pack: Pack, folder: Path, epochs: int | None = None) -> FoldResult | None:
    """To the end, or until `epochs` have been yielded and the worker is gone."""
    rows = train_task(job, pack, LocalStorage(folder))
    done = 0
    while epochs is None or done < epochs:
        try:
            next(rows)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        done += 1
    rows.close()
    return None


def both(folder: Path, pack: Pack, **changes: Any) -> tuple[Job, Job]:
    spec = configuration(**changes)
    jobs = job_of(first_of(spec), pack), job_of(spec, pack)
    for job in jobs:
        run(job, pack, folder)
    return jobs


@pytest.fixture(scope="module")
def trained(pack: Pack, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Job, Job]:
    folder = tmp_path_factory.mktemp("trained")
    return folder, *both(folder, pack)


def rows_of(job: Job, folder: Path, name: str) -> list[dict[str, Any]]:
    table = read_table(LocalStorage(folder), f"{RunPaths.result(job.task)}/{name}.parquet")
    times = [c for c in ("seconds", "images_per_second") if c in table.column_names]
    return table.drop_columns(times).to_pylist()


def test_one_network_keeps_the_name_it_had_before_there_were_two() -> None:
    assert Configuration().config_id == "aaf64e37f1"
    assert "two_stage" not in Configuration().record()["model"]


# -- what a first stage depends on -----------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [{"feed": "crop", "margin": 0.5}, {"classify": CLASSIFIER | {"width": 8}},
     {"classify": CLASSIFIER | {"train": {"lr": 0.1}}}],
)  # fmt: skip
def test_what_only_the_second_stage_reads_leaves_the_first_ones_key(changes: dict[str, Any]) -> None:
    changed = configuration(**changes)
    assert first_of(changed).key == first_of(configuration()).key
    assert changed.config_id != configuration().config_id


@pytest.mark.parametrize(
    "changes",
    [{"segment": SEGMENTER | {"width": 8}}, {"segment": SEGMENTER | {"augment": {"preset": "none"}}},
     {"inner_folds": 3}, {"masks": "truth"}],
)  # fmt: skip
def test_what_the_first_stage_reads_changes_its_key(changes: dict[str, Any]) -> None:
    assert first_of(configuration(**changes)).key != first_of(configuration()).key


def test_the_preprocessing_changes_the_key_and_the_threshold_does_not() -> None:
    def key(**sections: Any) -> str:
        return first_of(study_of(document() | sections, "test").configuration({})).key

    assert key(predict={"threshold": 0.7}) == key()
    assert key(preprocess={"clahe": 2.0}) != key()


def test_inner_folds_do_not_matter_where_the_truth_is_shown() -> None:
    few, many = (first_of(configuration(masks="truth", inner_folds=n)) for n in (2, 5))
    assert few.key == many.key


# -- no leak ---------------------------------------------------------------------------------------


def test_inner_folds_share_the_training_cases_out_by_class_and_group(pack: Pack) -> None:
    folds = study().fixed.folds
    fold = make_folds(pack, folds).folds[0]
    parts = inner_parts(pack, folds, fold, 3)
    assert sorted(case for part in parts for case in part) == sorted(fold.train)
    label = dict(zip(pack.cases, pack.labels.tolist(), strict=True))
    counts = [Counter(label[case] for case in part) for part in parts]
    assert all(max(c[k] for c in counts) - min(c[k] for c in counts) <= 1 for k in range(len(pack.classes)))


class Memoriser(nn.Module):
    """Draws the class of every image it was trained on, and an idle square in all others."""

    truth: ClassVar[dict[float, int]] = {}
    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.register_buffer("seen", torch.zeros(4096))

    def forward(self, x: Tensor) -> Prediction:
        masks = torch.full((len(x), 1, *x.shape[2:]), -9.0)
        for image, mask in zip(x, masks, strict=True):
            name = mark_of(image.detach().numpy()[0])
            place = int(abs(name) * 997) % 4096
            if self.training:
                self.seen[place] = 1
            side = 6 * (1 + self.truth[name]) if self.seen[place] else 4
            mask[0, :side, :side] = 9.0
        return Prediction([masks + self.weight], None, {})


def mark_of(image: np.ndarray) -> float:
    """Enough to tell one image from another."""
    return round(float((image * np.arange(image.size).reshape(image.shape)).mean()), 2)


def build_memoriser(model: Any, channels: int, classes: int, size: int) -> nn.Module:
    return Memoriser()


def test_a_segmenter_that_memorises_its_training_cases_tells_the_second_stage_nothing(
    pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = Row("memoriser", f"{__name__}:build_memoriser", "own", "", {"tasks": SEGMENT}, stride=2)
    monkeypatch.setitem(registry.MODELS, "memoriser", row)  # type: ignore[arg-type]
    segment = {"name": "memoriser", "augment": {"preset": "none"}, "train": {"epochs": 1, "lr": 1e-6}}
    spec = configuration(segment=segment)
    stage, job = first_of(spec), job_of(first_of(spec), pack)
    images = prepared_images(pack, stage)
    Memoriser.truth = {mark_of(i): int(label) for i, label in zip(images, pack.labels, strict=True)}
    run(job, pack, tmp_path)
    parts = Parts.of(job.fold, pack)
    drawn = read_masks(LocalStorage(tmp_path), stage, job.task.fold, pack) > 0.5
    sides = np.sqrt(drawn.sum((1, 2)))
    assert set(sides[parts.train]) == set(sides[parts.validation]) == set(sides[parts.test]) == {4.0}
    whole = Memoriser()
    whole.train()  # the plant works: of what it has seen it does give the class away
    with torch.no_grad():
        given = whole(torch.tensor(np.stack([images[i] for i in parts.train]))[:, None]).masks[0] > 0
    assert np.array_equal(np.sqrt(given.sum((1, 2, 3)).numpy()), 6.0 * (1 + pack.labels[parts.train]))


def prepared_images(pack: Pack, stage: FirstStage) -> np.ndarray:
    from engine.training.prepared import prepared

    return prepared(pack, stage.preprocess, np.arange(len(pack)))[..., 0]


def test_the_truth_is_shown_of_training_cases_alone(
    pack: Pack, tmp_path: Path, trained: tuple[Path, Job, Job]
) -> None:
    from engine.training.fold import FoldRun

    _, job = both(tmp_path, pack, masks="truth")
    fold = FoldRun(job, pack, LocalStorage(tmp_path))
    shown = fold.images[..., -1]
    assert fold.masks is not None
    assert np.array_equal(shown[fold.parts.train], pack.masks[fold.parts.train])
    for part in (fold.parts.validation, fold.parts.test):
        assert np.array_equal(shown[part], fold.masks[part] > 0.4)
    stage = first_of(configuration(masks="truth"))
    result = read_result(LocalStorage(tmp_path), Task(stage.key, job.task.fold))
    assert result is not None
    assert result.epochs == 2  # one segmenter: nobody asks for masks of training cases


# -- training --------------------------------------------------------------------------------------


def test_a_first_stage_trains_one_segmenter_per_inner_fold_and_one_on_all(
    trained: tuple[Path, Job, Job],
) -> None:
    folder, first, _ = trained
    rows = rows_of(first, folder, "epochs")
    assert [(r["stage"], r["network"], r["epoch"]) for r in rows] == [
        ("segment", 0, 1), ("segment", 0, 2), ("segment", 1, 3), ("segment", 1, 4), ("segment", 2, 5),
        ("segment", 2, 6),
    ]  # fmt: skip
    result = read_result(LocalStorage(folder), first.task)
    assert result is not None
    assert (result.stage, result.status, result.epochs) == ("segment", "complete", 6)
    assert LocalStorage(folder).list(RunPaths.checkpoint(first.task)) == ["best.pt"]


def test_a_result_joins_the_masks_of_the_first_and_the_classes_of_the_second(
    trained: tuple[Path, Job, Job],
) -> None:
    folder, first, second = trained
    for part in ("validation", "test"):
        for one, two in zip(
            rows_of(first, folder, f"cases_{part}"), rows_of(second, folder, f"cases_{part}"), strict=True
        ):
            assert one["case"] == two["case"]
            assert one["predicted"] is None
            assert two["predicted"] is not None
            assert two["dice"] is not None
    assert {row["stage"] for row in rows_of(second, folder, "epochs")} == {"classify"}
    result = read_result(LocalStorage(folder), second.task)
    assert result is not None
    wanted = (result.validation["dice"] + result.validation["f1_macro"]) / 2
    assert result.score == pytest.approx(wanted)
    assert {"dice", "f1_macro", "auc_macro"} <= set(result.test)


@pytest.mark.parametrize("cut", [1, 3, 6])
def test_a_first_stage_cut_off_ends_as_if_it_had_not_been(
    pack: Pack, trained: tuple[Path, Job, Job], tmp_path: Path, cut: int
) -> None:
    folder, first, _ = trained
    run(first, pack, tmp_path, epochs=cut)
    run(first, pack, tmp_path)
    for name in ("epochs", "cases_validation", "cases_test"):
        assert repr(rows_of(first, tmp_path, name)) == repr(rows_of(first, folder, name))
    masks = f"{RunPaths.result(first.task)}/masks.npz"
    assert LocalStorage(tmp_path).read(masks) == LocalStorage(folder).read(masks)


def test_a_fold_cut_off_in_the_second_stage_goes_on_in_the_second(
    pack: Pack, trained: tuple[Path, Job, Job], tmp_path: Path
) -> None:
    folder, first, second = trained
    run(first, pack, tmp_path)
    run(second, pack, tmp_path, epochs=1)
    left = list(train_task(second, pack, LocalStorage(tmp_path)))
    assert [(row["stage"], row["epoch"]) for row in left] == [("classify", 2)]
    assert repr(rows_of(second, tmp_path, "cases_test")) == repr(rows_of(second, folder, "cases_test"))


def test_empty_masks_and_missing_masks_are_each_one_clear_message(
    pack: Pack, tmp_path: Path, trained: tuple[Path, Job, Job]
) -> None:
    with pytest.raises(SonotuneError, match="is missing: the first stage must be trained before the second"):
        run(trained[2], pack, tmp_path)
    spec = study_of(document() | {"predict": {"threshold": 0.999}}, "test").configuration({})
    with pytest.raises(SonotuneError, match=r"found no lesion in any training case.*masks: truth"):
        run(job_of(spec, pack), pack, trained[0])


# -- what the second stage sees --------------------------------------------------------------------


def fed(feed: Any, margin: float = 0.0) -> Fed:
    return Fed(nn.Identity(), feed, margin)


def test_a_channel_adds_the_mask_and_an_overlay_brightens_the_lesion_alone() -> None:
    x = torch.rand(2, 2, 8, 8)
    x[:, 1] = 0
    x[:, 1, 2:4, 2:4] = 1
    assert torch.equal(fed("channel").shown(x), x)
    over = fed("overlay").shown(x)
    changed = over[:, 0] != x[:, 0]
    assert not changed[x[:, 1] == 0].any()
    assert (over >= x[:, :1]).all()


def test_a_crop_shows_the_lesion_and_the_whole_image_where_there_is_none() -> None:
    x = torch.zeros(2, 2, 8, 8)
    x[0, :, 4:6, 4:6] = 1
    x[1, 0] = torch.rand(8, 8)
    shown = fed("crop").shown(x)
    assert (shown[0, 0, 2:6, 2:6] == 1).all()
    assert shown[0].mean() > 0.75  # its rim is mixed with what lies around it
    assert torch.allclose(shown[1], x[1, :1], atol=1e-6)
    assert shown.shape == (2, 1, 8, 8)


def test_the_heat_of_a_crop_lies_on_the_lesion_it_was_cut_to() -> None:
    def lesion(x: Tensor) -> Prediction:
        mask = torch.full((1, 1, 8, 8), -9.0)
        mask[..., 4:6, 2:4] = 9.0
        return Prediction([mask], None, {})

    segmenter = nn.Identity()
    segmenter.forward = lesion  # type: ignore[assignment,method-assign]
    stages = TwoStages(segmenter, fed("crop"), 0.5)
    placed = stages.placed(torch.ones(1, 8, 8), torch.rand(1, 1, 8, 8))
    assert torch.equal(placed[0, 4:6, 2:4], torch.ones(2, 2))
    assert placed.sum() == 4


@pytest.mark.parametrize("feed", ["channel", "crop"])
def test_every_feed_trains(pack: Pack, trained: tuple[Path, Job, Job], feed: str) -> None:
    classify = CLASSIFIER | {"train": {"epochs": 1, "batch": 8}}
    result = run(job_of(configuration(feed=feed, classify=classify), pack), pack, trained[0])
    assert result is not None
    assert result.status == "complete"


# -- what cannot be combined -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "told"),
    [({"segment": {"name": "resnet34"}}, r"model.two_stage.segment: .*resnet34 takes \[classify\]"),
     ({"segment": {"name": "resnet34", "tasks": ["classify"]}}, "segment: model 'resnet34' has no masks"),
     ({"classify": {"name": "u2net"}}, r"model.two_stage.classify: .*u2net takes \[segment\]"),
     ({"classify": CLASSIFIER | {"tasks": ["segment", "classify"]}}, "must only classify"),
     ({"classify": CLASSIFIER | {"loss": {"segmentation": "dice"}}}, "classify: loss.segmentation=dice"),
     ({"segment": {"name": "u2net"}}, "segment: an image size of 32")],
)  # fmt: skip
def test_what_cannot_be_combined_is_refused_naming_the_stage(changes: dict[str, Any], told: str) -> None:
    (problem,) = impossible(configuration(**changes), 32 if "size" in told else 64, 3)
    assert re.search(told, problem)


def test_settings_beside_the_stages_are_refused_and_any_pair_is_not() -> None:
    beside = document() | {"train": {"epochs": 9}}
    (problem,) = impossible(study_of(beside, "test").configuration({}), 32, 3)
    assert problem.startswith("train: is set beside model.two_stage")
    for segment in ("u2net_lite", "unet_mtl", "attention_unet"):
        for classify in ("deepcardinal50", "resnet34", "alexnet", "unet_mtl"):
            pair = configuration(segment={"name": segment}, classify={"name": classify})
            if segment in registry.MODELS:
                assert list(impossible(pair, 64, 3)) == []


def test_more_inner_folds_than_cases_of_a_class_are_refused(pack: Pack) -> None:
    spec = study(inner_folds=20)
    with pytest.raises(SonotuneError, match=r"inner_folds=20 is too many .* fold r0-f0: class"):
        check_study(spec, pack, make_folds(pack, spec.fixed.folds))


# -- the search ------------------------------------------------------------------------------------

SEARCH: dict[str, Any] = document(classify=CLASSIFIER | {"width": {"choice": [4, 6]}, "train": {
    "epochs": 1, "batch": 8, "lr": {"choice": [1e-3, 1e-2]}}}) | {
    "search": {"sampler": "grid", "configs": 3},
    "race": {"rule": "none"},
    "resources": {"workers": 2, "device": "cpu"},
}  # fmt: skip


def played(folder: Path, spec: Study, sound: Any) -> list[tuple[str, str]]:
    """Two workers, made-up scores; the stage and fold of each task in the order of their hands."""
    fixed = spec.fixed
    sampler = Sampler(fixed.search, spec.space, fixed.seed)
    race = Race(fixed.race, ("r0-f0", "r0-f1"), fixed.search.configs, fixed.seed)
    one = Conductor(spec, sampler, race, Journal(LocalStorage(folder)), sound=sound)
    one.replay(one.journal.records)
    one.resumed()
    handed = []
    while one.next() is not None:
        one.next()  # a second worker, if there is anything for it
        handed += [("segment" if t.key in one.stages else "main", t.fold) for t in one.running]
        for running in tuple(one.running):
            one.reported(running, 1, 0.5, [0.5])
            one.ended(running, "complete", 0.5, [0.5])
    return handed


def test_each_first_stage_is_handed_out_once_and_again_where_it_was_damaged(tmp_path: Path) -> None:
    two = study_of(SEARCH | {"search": {"sampler": "grid", "configs": 2}}, "test")
    handed = played(tmp_path, two, lambda task, stage: True)
    assert sorted(handed) == [("main", "r0-f0")] * 2 + [("main", "r0-f1")] * 2 + [
        ("segment", "r0-f0"), ("segment", "r0-f1")
    ]  # fmt: skip
    damaged = {"r0-f1"}

    def sound(task: Task, stage: FirstStage) -> bool:
        if task.fold in damaged:
            damaged.remove(task.fold)
            return False
        return True

    more = played(tmp_path, study_of(SEARCH, "test"), sound)
    assert sorted(more) == [("main", "r0-f0"), ("main", "r0-f1"), ("segment", "r0-f1")]
    assert {r["stage"] for r in records(tmp_path, "reported")} == {"segment", "main"}


def records(folder: Path, event: str) -> list[dict[str, Any]]:
    return [r for r in read_journal(LocalStorage(folder))[0] if r["event"] == event]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_search_trains_each_first_stage_once_also_on_resume_and_in_another_run(tmp_path: Path) -> None:
    """Also: a damaged one is trained again, with a warning, before anything builds on it."""
    quiet = Console(quiet=True)
    spec = study_of(SEARCH, "test")
    stage = first_of(spec.configuration(spec.space.base({})))
    one, two = tmp_path / "one", tmp_path / "two"
    launch.search(spec, str(one), quiet)
    assert started(one, stage.key) == {"r0-f0": 1, "r0-f1": 1}
    assert {r["prerequisite"] for r in records(one, "opened")} == {stage.key}
    assert [r["status"] for r in records(one, "ended")] == ["complete"] * 8
    launch.search(study_of(SEARCH | {"search": {"sampler": "grid", "configs": 1}}, "test"), str(two), quiet,
                  reuse=[str(one)])  # fmt: skip
    assert all(r.get("reused") for r in records(two, "ended"))
    storage, task = LocalStorage(two), Task(stage.key, "r0-f0")
    storage.write(f"{RunPaths.result(task)}/masks.npz", b"damaged")
    launch.resume(str(two), quiet, changes={"search.configs": 4})
    assert started(two, stage.key, reused=False) == {"r0-f0": 1}
    assert "is damaged or gone; it is trained again" in (two / RunPaths.log).read_text()
    result = read_result(storage, task)
    assert result is not None
    assert damaged_files(storage, task, result) == []
    reported(one)


def started(folder: Path, key: str, reused: bool | None = None) -> dict[str, int]:
    found = [r for r in records(folder, "started") if r["task"]["key"] == key]
    kept = [r for r in found if reused is None or bool(r.get("reused")) == reused]
    return dict(Counter(r["task"]["fold"] for r in kept))


def reported(folder: Path) -> None:
    """A report reads such a run, and what was picked predicts as one model."""
    from engine.predict.ensemble import load_picked
    from reports.write import write

    write(str(folder))
    page = (folder / "report/index.html").read_text()
    assert "2 trainings of first stages served 6 folds of second stages: 4 trainings were saved." in page
    summary = json.loads((folder / "report/summary.json").read_text())
    assert [c["status"] for c in summary["configs"]] == ["complete"] * 3
    picked = load_picked(str(folder), "cpu")
    said = picked.ensemble(torch.rand(2, 1, 32, 32))
    assert said.masks is not None
    assert said.classes is not None
    assert (said.masks.shape, said.classes.shape) == ((2, 1, 32, 32), (2, 3))

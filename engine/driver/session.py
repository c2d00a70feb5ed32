"""One driver's life over a run folder: its first task to its last, and what becomes of each."""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.progress_reporter import TrialProgressCallback
from rich.console import Console

from engine import past
from engine.conductor import Conductor, Trained
from engine.data.cases import Pack
from engine.driver import resources as shares
from engine.driver import tracking, tune_gaps
from engine.driver.budget import Spent
from engine.driver.disk import Keeper
from engine.driver.faults import Faults
from engine.driver.growth import Demand, Slots, await_room
from engine.driver.interrupt import interruptible
from engine.driver.live import View
from engine.driver.mend import Inspection, completed, inspection, wanted
from engine.driver.packing import ALONE, Packed
from engine.driver.schedule import TaskScheduler
from engine.driver.search import TaskSearcher
from engine.driver.store import LateRooms
from engine.driver.worker import FoldTrainable, Shared
from engine.finals import Finals
from engine.folds.manifest import Manifest
from engine.journal.journal import Journal
from engine.objective import objectives
from engine.race.events import Lost
from engine.race.race import Race
from engine.results import FoldResult, write_result
from engine.sampler.mirror import Mirror
from engine.sampler.sampler import Sampler
from engine.spec.study import FirstStage, Study
from engine.storage import Storage, open_storage
from engine.task import Task
from engine.training.numerics import Numerics
from engine.training.weight_files import NO_FILES, Digests

log = logging.getLogger("sonotune")


@dataclass(frozen=True)
class Outcome:
    reason: str
    interrupted: bool
    failure: str | None = None


class Silent(TrialProgressCallback):  # type: ignore[misc]
    """Tune's own prints a line for each trial that it stops, even with verbose=0, and keeps every trial."""

    def on_trial_result(self, *args: Any, **info: Any) -> None:
        pass

    def on_trial_error(self, *args: Any, **info: Any) -> None:
        pass

    def on_trial_complete(self, *args: Any, **info: Any) -> None:
        pass


class Session:
    """One driver's life over a run folder."""

    def __init__(
        self,
        study: Study,
        pack: Pack,
        manifest: Manifest,
        numerics: Numerics,
        storage: Storage,
        journal: Journal,
        reuse: Sequence[str] = (),
        trainable: type[FoldTrainable] = FoldTrainable,
        packed: Packed = ALONE,
        weights: Digests = NO_FILES,
    ) -> None:
        self.study, self.storage, self.journal, self.trainable = study, storage, journal, trainable
        self.packed = packed
        fixed = study.fixed
        self.shared = Shared(
            pack,
            manifest,
            storage.location,
            fixed.seed,
            numerics,
            objectives(fixed.search),
            fixed.resources,
            fixed.folds,
            weights,
        )
        self.records: Sequence[dict[str, Any]] = ()
        self.epochs_before = 0
        self.last_error: str | None = None
        self.faults = Faults()
        self.reuse = [open_storage(place) for place in reuse]
        sampler = Sampler(fixed.search, study.space, fixed.seed, first=study.first)
        race = Race(
            fixed.race,
            manifest.names,
            fixed.search.configs,
            fixed.seed,
            len(objectives(fixed.search)),
            pick=fixed.select.rule,
            learns=sampler.learns,
        )
        mirror = Mirror(storage, study.name, study.space, fixed.search.directions, fixed.search.objectives)
        finals = Finals([fold.name for fold in manifest.finals], manifest.ratio)
        self.conductor = Conductor(
            study, sampler, race, journal, self._past, mirror=mirror, sound=self._sound, finals=finals
        )

    def _past(self, task: Task, configuration: Trained) -> past.Past | None:
        """What two folds of a configuration have met is not tried on the others."""
        if error := self.faults.broken.get(task.key):
            self._give_up(task, error)
            return past.Past((), "failed", None, ())
        address = self.shared.job(task, configuration).address
        return past.adopt(self.storage, self.reuse, task, address, self._whole(configuration))

    def _sound(self, task: Task, stage: FirstStage) -> bool:
        address = self.shared.job(task, stage).address
        return past.stored(self.storage, task, address, self._whole(stage)) is not None

    def _whole(self, trained: Trained) -> bool:
        """A first stage whose network was pruned is of no use to what may be picked: it is trained again."""
        return isinstance(trained, FirstStage) and self.study.fixed.resources.keep != "none"

    def go_back_to(self, records: Sequence[dict[str, Any]]) -> None:
        """Everything that the journal says has happened. Without Ray, which may start meanwhile."""
        self.records = records
        self.conductor.replay(records)
        self.epochs_before = self.conductor.ledger.epochs

    def come_back(self) -> None:
        self.conductor.resumed()

    def _inspection(self) -> AbstractContextManager[Inspection]:
        tasks = partial(completed, self.conductor, self.records)
        return inspection(tasks, self._trained, self.storage)

    def _look_back(self, results: Inspection, wait: bool) -> bool:
        """Whether any earlier fold must be trained again. Before the first epoch of this driver is heard of,
        every look would keep the first folds waiting."""
        if self.conductor.ledger.epochs == self.epochs_before and not wait:
            return False
        lost = [task for task in results.damaged(wait) if self._still_lost(task)]
        for task in lost:
            log.warning("the result of %s is damaged or gone; it is trained again", task.folder)
            self.conductor.lost(Lost(task))
        return bool(lost)

    def _still_lost(self, task: Task) -> bool:
        """A first stage may have been trained again by now, for somebody who needed it at once."""
        again = task in self.conductor.running or self._trained(task)
        return wanted(self.conductor, task, self.conductor.picks()) and not again

    def _trained(self, task: Task) -> bool:
        job = self.shared.job(task, self.conductor.configuration_of(task))
        return past.intact(self.storage, task, job.address)

    def run(self, console: Console, scratch: Path, grows: bool = False) -> Outcome:
        """`grows`: whether nodes may come and go."""
        resources = self.study.fixed.resources
        share = await_room(self._share, resources, grows, console)
        rooms = LateRooms(self.shared.pack)
        slots = Slots(resources, share, Demand(share) if grows else None, seen=rooms.look)
        keeper = Keeper(self.storage, self.conductor, resources.keep_configurations)
        names = self.shared.manifest.names
        log.info("%d side by side, each with %s; %s", slots(), share.request(), self.shared.numerics.record())
        with (
            View(self.conductor, names, slots, console) as view,
            self._tracking(console.print) as trackers,
            self._inspection() as results,
        ):
            searcher = TaskSearcher(self.conductor, slots, lambda wait: self._look_back(results, wait))
            slots.more = lambda: not searcher.idle
            spent = Spent(self.study.fixed.search.budget, share.gpu, self.records)
            if over := spent.over():
                self.conductor.stop(over)
            scheduler = TaskScheduler(
                self.conductor, searcher, self._give_up, (view, trackers), spent, keeper, self.faults
            )
            try:
                with interruptible(searcher, console):
                    if searcher.anything():
                        self._fit(searcher, scheduler, share, scratch)
            finally:
                keeper.sweep()
                self.conductor.close()
        if searcher.error is not None:
            raise searcher.error
        reason = self.conductor.done or self.conductor.race.stopped or "stopped by its user"
        return Outcome(reason, searcher.closing, self._failure(reason, scheduler.failure))

    def _failure(self, reason: str, stopped_by: str | None) -> str | None:
        """What a search must not end well with."""
        if stopped_by:
            return f"the study was stopped: {reason}:\n{stopped_by}"
        complete = any(rule.heat.complete for rule in self.conductor.race.rules.values())
        if complete or self.last_error is None:
            return None
        return (
            f"no configuration is complete; the last fold that was given up failed with:\n{self.last_error}"
        )

    def _share(self, nodes: Sequence[shares.Node]) -> shares.Share:
        return shares.share(self.study.fixed.resources, nodes, self.shared.numerics.device, self.packed.folds)

    def _tracking(self, tell: Callable[[str], None]) -> tracking.Tracking:
        fixed, known = self.study.fixed, self.conductor.configuration_of
        return tracking.start(fixed.tracking, self.storage, fixed.study, known, tell)

    def _fit(
        self, searcher: TaskSearcher, scheduler: TaskScheduler, share: shares.Share, scratch: Path
    ) -> None:
        trainable = tune.with_parameters(self.trainable, shared=replace(self.shared, gpu=share.gpu))
        tuner = tune.Tuner(
            tune.with_resources(trainable, share.request()),
            tune_config=tune.TuneConfig(
                search_alg=searcher, scheduler=scheduler, num_samples=-1, reuse_actors=True
            ),
            run_config=tune.RunConfig(
                name="folds",
                storage_path=str(scratch / "tune"),
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                callbacks=[Silent()],
            ),
        )
        with tune_gaps.without_detours():
            tuner.fit()

    def _give_up(self, task: Task, error: str) -> None:
        """A fold that cannot be trained leaves a result that says why."""
        self.last_error = error
        job = self.shared.job(task, self.conductor.configuration_of(task))
        classes = self.shared.pack.classes
        result = FoldResult(
            task.key, task.fold, "failed", job.record, classes, job.address, job.stage, error=error
        )
        write_result(self.storage, task, result, {})

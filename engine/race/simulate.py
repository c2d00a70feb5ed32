"""Recorded learning curves replayed through the real race, in simulated time.

The race cannot tell it from a study: it is asked by free workers, told of epochs, and decides. What the
simulator adds is the truth about what was never trained.
"""

import heapq
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from engine.race.events import Dropped, Ended, Opened, Reported, Started, Status
from engine.race.protocol import Continue, Done, Open, Run, Stop, Wait
from engine.race.race import Race
from engine.race.table import Table
from engine.task import Task


@dataclass(frozen=True)
class Outcome:
    """One simulated study, judged by the truth of its table."""

    spent: float  # fold-epochs, as a share of training everything
    wall: float  # simulated seconds, as a share of training everything on as many workers
    regret: float  # of the pick, validation, in units of the table's noise
    test_regret: float  # of the pick, test mean against the table's best, in score
    rank: int  # of the pick, 0 is the best
    best_lost: bool  # the best configuration was not finished
    wrong: bool  # one that was not finished is above the pick by more than a quarter of the noise
    complete: int  # configurations with all folds
    audited: int
    audit_wrong: int
    decisions: tuple[Dropped, ...] = ()


RaceMaker = Callable[[tuple[str, ...], int, int], Race]


@dataclass
class _Running:
    task: Task
    row: int
    fold: int
    epoch: int  # reached when it began this stretch
    since: float
    until: int  # epoch of its next report
    token: int


class Simulation:
    """One study over `order`, with so many workers. `overhead` is paid for each start, in epochs."""

    def __init__(
        self, table: Table, race: Race, order: Sequence[int], slots: int, overhead: float = 0.0
    ) -> None:
        self.table, self.race, self.order, self.slots = table, race, order, slots
        self.overhead = overhead
        self.epochs = table.scores.shape[2]
        self.levels = [int(level) for level in next(iter(race.rules.values())).levels(self.epochs)]
        self.columns = {fold: k for k, fold in enumerate(table.folds)}
        self.now, self.spent, self.paid = 0.0, 0.0, 0.0
        self.reached = np.zeros(table.scores.shape[:2], dtype=int)
        self.running: dict[Task, _Running] = {}
        self.queue: list[tuple[float, int, Task]] = []
        self.tokens = itertools.count()
        self.decisions: list[Dropped] = []

    def run(self) -> "Simulation":
        self._fill()
        while self.queue:
            self.now, token, task = heapq.heappop(self.queue)
            job = self.running.get(task)
            if job is None or job.token != token:
                continue
            self._arrive(job)
            self._fill()
        if not isinstance(self.race.next(), Done):
            raise RuntimeError("the race waits for work that nobody has")
        return self

    def _fill(self) -> None:
        while len(self.running) < self.slots:
            step = self.race.next()
            if isinstance(step, Open):
                self.race.apply(Opened(f"c{len(self.race.field.configs)}", self.epochs))
            elif isinstance(step, Run):
                self._start(step.task)
            else:
                assert isinstance(step, Wait | Done)
                return

    def _start(self, task: Task) -> None:
        self.race.apply(Started(task))
        row, fold = self.race.field.rows[task.key], self.columns[task.fold]
        epoch = int(self.reached[row, fold])
        job = _Running(task, row, fold, epoch, self.now, self._next_level(epoch), next(self.tokens))
        self.running[task] = job
        self.paid += self.overhead
        job.since += self.overhead * self._pace(row)
        self._schedule(job)

    def _next_level(self, epoch: int) -> int:
        return next(level for level in self.levels if level > epoch)

    def _pace(self, row: int) -> float:
        return float(self.table.seconds[self.order[row]])

    def _schedule(self, job: _Running) -> None:
        end = job.since + (job.until - job.epoch) * self._pace(job.row)
        heapq.heappush(self.queue, (end, job.token, job.task))

    def _arrive(self, job: _Running) -> None:
        """A fold reaches a level: it reports, the race judges."""
        self.spent += job.until - job.epoch
        job.epoch, job.since = job.until, self.now
        self.reached[job.row, job.fold] = job.epoch
        score = float(self.table.scores[self.order[job.row], job.fold, job.epoch - 1])
        self.race.apply(Reported(job.task, job.epoch, score))
        self._settle(but=job.task)
        if job.epoch == self.epochs and self.race.field.needed(job.task):  # else stopped, as a driver does
            return self._end(job, "complete", score)
        verdict = self.race.verdict(job.task)
        if isinstance(verdict, Continue):
            job.until = self._next_level(job.epoch)
            return self._schedule(job)
        self._end(job, "stopped" if isinstance(verdict, Stop) else "frozen")

    def _end(self, job: _Running, status: Status, score: float | None = None) -> None:
        del self.running[job.task]
        self.race.apply(Ended(job.task, status, score))
        self._settle()

    def _settle(self, but: Task | None = None) -> None:
        """Decisions take effect: at once for the reporting fold (`but`), for others at their next epoch."""
        dropped = set()
        while (drop := self.race.decision()) is not None:
            self.race.apply(drop)
            self.decisions.append(drop)
            dropped.add(drop.config)
        for job in [job for job in self.running.values() if job.task.key in dropped and job.task != but]:
            if isinstance(self.race.verdict(job.task), Stop):
                self._cut(job)

    def _cut(self, job: _Running) -> None:
        begun = int(np.ceil((self.now - job.since) / self._pace(job.row) - 1e-9))
        job.until = min(job.epoch + max(begun, 0), job.until)
        if job.until == job.epoch:
            return self._end(job, "stopped")
        job.token = next(self.tokens)
        self._schedule(job)

    # -- judgement ---------------------------------------------------------------------------------

    def outcome(self) -> Outcome:
        table, order = self.table, np.asarray(self.order)
        truth = table.truth[order]
        heat = next(iter(self.race.field.heats.values()))
        done = np.zeros(len(truth), dtype=bool)
        done[heat.complete] = True
        pick = int(np.argmax(np.where(done, truth, -np.inf))) if done.any() else self._fallback()
        whole = truth.size * table.scores.shape[1] * self.epochs
        best = int(truth.argmax())
        lost = truth[~done].max(initial=-np.inf) - truth[pick]
        audited = [i for i in np.flatnonzero(heat.audited[: heat.count]) if done[i]]
        seconds = float(table.seconds[order].sum()) * table.scores.shape[1] * self.epochs
        return Outcome(
            spent=(self.spent + self.paid) / whole,
            wall=self.now * self.slots / seconds,
            regret=float(truth[best] - truth[pick]) / table.noise,
            test_regret=float(table.test.max() - table.test[order[pick]]),
            rank=int((truth > truth[pick]).sum()),
            best_lost=not done[best],
            wrong=bool(lost > 0.25 * table.noise),
            complete=int(done.sum()),
            audited=len(audited),
            audit_wrong=sum(bool(truth[i] > truth[pick]) for i in audited),
            decisions=tuple(self.decisions),
        )

    def _fallback(self) -> int:
        """Nothing is complete (peers that stop folds alone): the best mean over most finished folds."""
        count = len(self.race.field.configs)
        finals = self.reached[:count] == self.epochs
        scores = self.table.scores[np.asarray(self.order)[:count], :, -1]
        means = np.where(finals, scores, 0).sum(1) / np.maximum(finals.sum(1), 1)
        return int(np.lexsort((means, finals.sum(1)))[-1])


def simulate(
    table: Table, make: RaceMaker, repeats: int, slots: int, seed: int = 0, overhead: float = 0.0
) -> list[Outcome]:
    """`repeats` studies, each over the table's configurations in a new random order."""
    count = len(table.scores)
    outcomes = []
    for repeat in range(repeats):
        order = np.random.default_rng([seed, repeat]).permutation(count)
        race = make(table.folds, count, repeat)
        outcomes.append(Simulation(table, race, order.tolist(), slots, overhead).run().outcome())
    return outcomes

"""What others do, for comparison in the simulator only: their own rules, on their own terms.

None of them may be named in a study: each lacks something that a study needs (a mean of every survivor, a
decision before most folds are trained, an order of folds).
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from engine.race.asha import Asha, growing
from engine.race.heat import State
from engine.race.none import Choice, Drop, Setting, TrainAll
from engine.race.stopper import Stopper
from engine.spec import race as spec


class PooledAsha(TrainAll):
    """Ray's ASHA over trials that are (configuration, fold): one pool of rungs, each fold stopped alone."""

    name = "asha-pooled"

    def __init__(self, settings: spec.Race, setting: Setting) -> None:
        super().__init__(settings, setting)
        self.rungs: dict[int, list[float]] = {}
        self.stopped: set[tuple[int, int]] = set()

    def levels(self, epochs: int) -> np.ndarray:
        return np.array([*growing(self.settings.min_epochs, epochs, self.settings.eta), epochs])

    def drops(self, row: int, fold: int) -> list[Drop]:
        rung = int(self.heat.depth[row, fold]) - 1
        if self.heat.state[row, fold] == State.COMPLETE:
            return []
        recorded, score = self.rungs.setdefault(rung, []), float(self.heat.best[row, fold, 0])
        if recorded and score < np.percentile(recorded, 100 * (1 - 1 / self.settings.eta)):
            self.stopped.add((row, fold))
        recorded.append(score)
        return []

    def stops_fold(self, row: int, fold: int) -> bool:
        return (row, fold) in self.stopped


class LockstepAsha(Asha):
    """Ray's ASHA over configurations whose folds advance together: the mean of all folds at each rung."""

    name = "asha-lockstep"

    def levels(self, epochs: int) -> np.ndarray:
        return np.array([*growing(self.settings.min_epochs, epochs, self.settings.eta), epochs])

    def drops(self, row: int, fold: int) -> list[Drop]:
        heat = self.heat
        depth = int(heat.depth[row].min())
        if heat.out[row] or depth <= self.passed.get(row, 0) or depth == heat.curves.shape[2]:
            return []
        self.passed[row] = depth
        return self._judge(row, depth - 1, float(heat.curves[row, :, depth - 1, 0].mean()))

    def choose(self, may_open: bool) -> Choice:
        heat = self.heat
        for row in np.flatnonzero(heat.ready[: heat.count]):
            behind = self._behind(int(row))
            if behind is not None:
                return int(row), behind
        return "open" if may_open else None

    def _behind(self, row: int) -> int | None:
        """A fold at the rung that the configuration is at; None while all such folds run."""
        heat, rung = self.heat, int(self.heat.depth[row].min())
        free = (heat.state[row] <= State.FROZEN) & (heat.depth[row] == rung)
        return int(free.argmax()) if free.any() else None

    def freezes(self, row: int, fold: int) -> bool:
        return True


class FoldHalving(TrainAll):
    """Successive halving with folds as its resource: all take one fold, the best 1/eta two, four, …"""

    name = "halving-folds"
    stops = True

    def __init__(self, settings: spec.Race, setting: Setting) -> None:
        super().__init__(settings, setting)
        self.wanted = 1

    def choose(self, may_open: bool) -> Choice:
        if may_open:
            return "open"
        heat = self.heat
        begun = (heat.state[: heat.count] >= State.RUNNING).sum(axis=1)
        rows = np.flatnonzero(heat.ready[: heat.count] & (begun < self.wanted))
        return (int(rows[0]), heat.next_fold(int(rows[0]))) if len(rows) else None

    def drops(self, row: int, fold: int) -> list[Drop]:
        heat = self.heat
        alive = np.flatnonzero(~heat.out[: heat.count])
        done = heat.state[alive] == State.COMPLETE
        if (done.sum(axis=1) < self.wanted).any() or self.wanted >= len(heat.folds):
            return []
        means = np.where(done, heat.best[alive, :, 0], 0).sum(axis=1) / done.sum(axis=1)
        keep = max(1, round(len(alive) / self.settings.eta))
        self.wanted = min(2 * self.wanted, len(heat.folds))
        return [(int(victim), "not promoted") for victim in alive[np.argsort(-means, kind="stable")[keep:]]]


class OptunaWilcoxon(Stopper):
    """Optuna's WilcoxonPruner itself: one trial per configuration, one step per fold."""

    name = "optuna-wilcoxon"

    def __init__(self, settings: spec.Race, setting: Setting) -> None:
        super().__init__(settings, setting)
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            pruner = optuna.pruners.WilcoxonPruner(p_threshold=settings.delta, n_startup_steps=2)
        self.study = optuna.create_study(direction="maximize", pruner=pruner)
        self.trials: dict[int, Any] = {}

    def drops(self, row: int, fold: int) -> list[Drop]:
        if self.heat.state[row, fold] != State.COMPLETE or self.heat.out[row]:
            return []
        if row not in self.trials:
            self.trials[row] = self.study.ask()
        trial = self.trials[row]
        trial.report(float(self.heat.best[row, fold, 0]), step=fold)
        if self.finished(row).all():
            self.study.tell(trial, float(self.heat.means[row, 0]))
            return []
        return [(row, "pruned by Optuna")] if trial.should_prune() else []


PEERS: dict[str, Callable[[spec.Race, Setting], TrainAll]] = {
    peer.name: peer for peer in (PooledAsha, LockstepAsha, FoldHalving, OptunaWilcoxon)
}

"""What a person sees while a search runs: a table on a terminal, plain lines where output is piped."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from engine.conductor import Conductor
from engine.race.heat import Heat, State
from engine.task import Task
from engine.words import plural

ROWS = 15
AROUND = 5  # lines of the table's head and of the headline, which a narrow terminal breaks
REFRESH_EVERY = 0.25  # seconds; a table of thousands of folds is not drawn for each epoch of each of them


class View:
    """Configurations by folds; finished folds show their score, running ones the epoch they are in."""

    def __init__(
        self, conductor: Conductor, folds: tuple[str, ...], slots: Callable[[], int], console: Console
    ) -> None:
        self.conductor, self.folds, self.slots, self.console = conductor, folds, slots, console
        self.cells: dict[tuple[str, str], str] = {}
        self.began, self.images, self.trained = time.monotonic(), 0.0, 0
        self.drawn = 0.0
        self.live = Live(console=console, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> "View":
        if self.live:
            self.live.start()
            self.live.update(self.render(), refresh=True)  # workers need a while to their first epoch
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.update(self.render(), refresh=True)
            self.live.stop()

    def epoch(self, task: Task, row: Mapping[str, Any]) -> None:
        self.cells[task.key, task.fold] = f"[dim]{row['epoch']}·[/]{row['best']:.3f}"
        self.images = (
            0.9 * self.images + 0.1 * row.get("images_per_second", 0.0)
            if self.images
            else row.get("images_per_second", 0.0)
        )
        self._refresh()

    def end(self, task: Task, status: str, score: float | None) -> None:
        shown = {"complete": f"[green]{score or 0:.3f}[/]", "failed": "[red]failed[/]"}
        self.cells[task.key, task.fold] = shown.get(status, f"[yellow]{status}[/]")
        self.trained += status == "complete" and task.key in self.conductor.entries
        if self.live is None:
            value = "" if score is None else f" {score:.4f}"
            told = f"{self._named(task.key)}/{task.fold} {status}{value}   {self.headline()}"
            self.console.print(told, highlight=False, soft_wrap=True)
            self.console.file.flush()
        self._refresh()

    def _refresh(self) -> None:
        if self.live and time.monotonic() - self.drawn >= REFRESH_EVERY:
            self.live.update(self.render(), refresh=True)
            self.drawn = time.monotonic()

    def scores(self, key: str) -> list[float | None]:
        """Of its complete folds; also of those from before a resume, and of another run's."""
        return [self.conductor.race.score(Task(key, fold)) for fold in self.folds]

    def mean(self, key: str) -> float | None:
        known = [score for score in self.scores(key) if score is not None]
        return sum(known) / len(known) if len(known) == len(self.folds) else None

    def means(self) -> np.ndarray:
        """Over all folds, of each configuration in the order in which they came; NaN of incomplete ones."""
        heats = self.conductor.race.field.heats.values()
        sums = [heat.means[: heat.count, 0] * len(heat.folds) for heat in heats]
        return np.asarray(np.sum(sums, axis=0) / len(self.folds))

    def headline(self) -> str:
        means, best = self.means(), "no configuration complete yet"
        if not np.isnan(means).all():
            best = (
                f"best {np.nanmax(means):.4f} ({self.conductor.race.field.configs[int(np.nanargmax(means))]})"
            )
        spent = time.monotonic() - self.began
        folds = plural(self.trained, "fold")
        return f"{folds} in {_lasting(spent)} · {best}{self._left(spent)}"

    def _left(self, spent: float) -> str:
        total = self.conductor.study.fixed.search.configs * len(self.folds)
        known = sum(_settled(heat) for heat in self.conductor.race.field.heats.values())
        if not self.trained or known >= total:
            return ""
        return f" · at most {_minutes((total - known) * spent / self.trained)} left"

    def render(self) -> Group:
        foot = f"{self.headline()} · {self.images:.0f} images/s per fold · {self.slots()} side by side"
        return Group(self._by_fold() if self._fits() else self._in_short(), Text(foot, style="dim"))

    def _fits(self) -> bool:
        """A column per fold, without cutting a figure: an epoch stands before the score of what runs."""
        first = max([13, *(len(self._named(key)) for key in self._shown())])
        names = sum(2 + max(len(fold), 5) for fold in self.folds)
        return first + names + 3 * min(self.slots(), len(self.folds)) + 9 <= self.console.width

    def _by_fold(self) -> Table:
        table = _table(*self.folds)
        for key in self._shown():
            cells = [self._cell(key, *told) for told in zip(self.folds, self.scores(key), strict=True)]
            table.add_row(self._named(key), *cells, self._mean(key))
        return table

    def _in_short(self) -> Table:
        """How many folds are complete, and what is under way, where there is no room for all of them."""
        table = _table("folds", "under way")
        for key in self._shown():
            done = sum(score is not None for score in self.scores(key))
            told = f"{done}/{len(self.folds)}", ", ".join(self._under_way(key)), self._mean(key)
            table.add_row(self._named(key), *told)
        return table

    def _under_way(self, key: str) -> list[str]:
        """Folds that run, else what was last heard of one that is not complete."""
        running = [task.fold for task in self.conductor.running if task.key == key]
        others = zip(self.folds, self.scores(key), strict=True)
        heard = [fold for fold, score in others if score is None and (key, fold) in self.cells]
        return [f"{fold} {self.cells.get((key, fold), '[dim]·[/]')}" for fold in running or heard[-1:]]

    def _named(self, key: str) -> str:
        """A first stage is no configuration: its folds are not counted, and its score is of masks alone."""
        return key if key in self.conductor.entries else f"stage {key}"

    def _mean(self, key: str) -> str:
        mean = self.mean(key)
        if mean is None:
            return "[yellow]dropped[/]" if self._dropped(key) else ""
        return f"[bold]{mean:.4f}[/]"

    def _dropped(self, key: str) -> bool:
        """Out of every heat, and not finished as an audit."""
        field = self.conductor.race.field
        row = field.rows.get(key)
        return row is not None and not any(heat.wanted(row) for heat in field.heats.values())

    def _cell(self, key: str, fold: str, score: float | None) -> str:
        unheard = "[dim]·[/]" if score is None else f"[green]{score:.3f}[/]"
        return self.cells.get((key, fold), unheard)

    def _shown(self) -> list[str]:
        """What runs, then the best; the rest is in the report."""
        running = list(dict.fromkeys(task.key for task in self.conductor.running))
        best_first = np.argsort(-np.nan_to_num(self.means(), nan=-np.inf), kind="stable")
        rest = [
            key
            for key in map(self.conductor.race.field.configs.__getitem__, best_first)
            if key not in running
        ]
        return (running + rest)[: max(1, min(ROWS, self.console.height - AROUND))]


def _table(*between: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("configuration", *between, "mean"):
        words = name in ("configuration", "under way")
        table.add_column(name, justify="left" if words else "right", no_wrap=name != "under way")
    return table


def _settled(heat: Heat) -> int:
    """Folds on which nobody waits any more: they have ended, or their configuration is out."""
    rows = slice(heat.count)
    return int(((heat.state[rows] >= State.COMPLETE) | heat.unwanted()[:, None]).sum())


def _lasting(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 600 else _minutes(seconds)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"

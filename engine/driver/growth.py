"""Follows a cluster that grows and shrinks: how many folds it holds now, and what its autoscaler should know.

Tune's trials are made only for slots that exist: a task is chosen when it can start, never before, so that
nothing of what the race or the sampler learns meanwhile comes too late for it. The demand beyond them is
shown to the autoscaler by placement groups that nobody ever uses. They belong to this driver: when it
dies, however it dies, Ray forgets them, which it would not do for `request_resources`.
"""

import time
from collections.abc import Callable, Sequence

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from rich.console import Console

from engine.driver import resources as shares
from engine.driver.resources import Node, Share
from engine.spec.resources import Resources

LOOK_EVERY = 3.0  # seconds
MOST_DEMAND = 256  # placement groups that wait at once; an autoscaler needs no more to grow by


def nodes() -> list[Node]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


class Demand:
    """Folds that wait for nodes, as Ray and its autoscaler see them."""

    def __init__(self, share: Share) -> None:
        self.bundle = share.bundle()
        self.groups: dict[ray.ObjectRef, PlacementGroup] = {}

    def want(self, count: int) -> None:
        """One that was given room lets go of it at once: that room is for a fold."""
        granted, _ = ray.wait(list(self.groups), num_returns=len(self.groups), timeout=0)
        too_many = list(self.groups)[min(count, MOST_DEMAND) :]
        for future in {*granted, *too_many}:
            remove_placement_group(self.groups.pop(future))
        for _ in range(min(count, MOST_DEMAND) - len(self.groups)):
            group = placement_group([self.bundle])
            self.groups[group.ready()] = group

    def __enter__(self) -> "Demand":
        return self

    def __exit__(self, *_: object) -> None:
        self.want(0)


class Slots:
    """How many folds may run now. Asked in every round of Tune's loop, looked up every few seconds."""

    def __init__(
        self,
        resources: Resources,
        share: Share,
        demand: Demand | None = None,
        look: Callable[[], Sequence[Node]] = nodes,
        now: Callable[[], float] = time.monotonic,
        seen: Callable[[Sequence[Node]], None] = lambda nodes: None,
    ) -> None:
        """`seen` is told of the nodes at each look."""
        self.resources, self.share, self.demand, self.look, self.now = resources, share, demand, look, now
        self.seen = seen
        self.more: Callable[[], bool] = lambda: True  # whether there is work for further slots
        self.looked, self.count = now(), shares.slots(resources, share, look())

    def __call__(self) -> int:
        if self.now() - self.looked >= LOOK_EVERY:
            there = self.look()
            self.seen(there)
            self.count = shares.slots(self.resources, self.share, there)
            if self.demand is not None:
                self.demand.want(shares.short_of(self.resources, self.count) if self.more() else 0)
            self.looked = self.now()
        return self.count


def await_room(
    share: Callable[[Sequence[Node]], Share], resources: Resources, grows: bool, console: Console
) -> Share:
    """The share of a fold, once some node can hold it. Where none can and none will come, an error."""
    there = nodes()
    wanted = share(there)
    if wanted.slots(there) > 0:
        return wanted
    if not (grows and shares.may_wait(resources)):
        raise shares.no_room(wanted, there)
    console.print(
        f"waiting for a node with {shares.told(wanted.bundle())}; the cluster has {shares.has(there)}. "
        "Ctrl-C gives up",
        highlight=False,
        soft_wrap=True,
    )
    with Demand(wanted) as demand:
        while wanted.slots(there) < 1:
            demand.want(shares.short_of(resources, 0))
            time.sleep(LOOK_EVERY / 3)
            there = nodes()
            wanted = share(there)
    return wanted

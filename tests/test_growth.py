"""A cluster that grows and shrinks, as its slots and its autoscaler see it: no Ray, a clock of our own."""

from typing import Any

import pytest
from rich.console import Console

from engine.driver import growth
from engine.driver.growth import LOOK_EVERY, Demand, Slots
from engine.driver.resources import Node, Share
from engine.errors import SonotuneError
from engine.spec.resources import Resources

HEAD: Node = {"CPU": 4.0}
GPUS: Node = {"CPU": 16.0, "GPU": 2.0}


def test_slots_follow_a_cluster_that_grows_and_are_looked_up_every_few_seconds() -> None:
    clock, nodes, looks = [0.0], [{"CPU": 2.0}], []

    def look() -> list[Node]:
        looks.append(clock[0])
        return nodes

    slots = Slots(Resources(), Share(1, 0, {}), look=look, now=lambda: clock[0])
    nodes = [{"CPU": 2.0}, {"CPU": 1.0}]
    assert [slots() for _ in range(100)] == [2] * 100
    clock[0] = LOOK_EVERY
    assert [slots(), slots()] == [3, 3]
    assert looks == [0.0, LOOK_EVERY]
    nodes, clock[0] = [{"CPU": 1.0}], 2 * LOOK_EVERY
    assert slots() == 1


class Asked:
    """Of a placement group that waits for its node."""

    def __init__(self, bundles: list[Any]) -> None:
        self.bundles = bundles

    def ready(self) -> "Asked":
        return self


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> list[Asked]:
    """What an autoscaler sees. One that has no bundles any more was given room."""
    there: list[Asked] = []

    def asks(bundles: list[Any]) -> Asked:
        there.append(Asked(bundles))
        return there[-1]

    monkeypatch.setattr(growth, "placement_group", asks)
    monkeypatch.setattr(growth, "remove_placement_group", there.remove)
    granted = lambda asked, **_: ([one for one in asked if not one.bundles], [])  # noqa: E731
    monkeypatch.setattr(growth.ray, "wait", granted)
    return there


def test_what_an_autoscaler_sees_is_what_is_short_and_nothing_that_has_room(waiting: list[Asked]) -> None:
    clock, nodes = [0.0], [HEAD]
    with Demand(Share(1, 0, {})) as demand:
        slots = Slots(Resources(workers=7), Share(1, 0, {}), demand, lambda: nodes, lambda: clock[0])

        def seen() -> int:
            clock[0] += LOOK_EVERY
            slots()
            return len(waiting)

        assert seen() == 3
        first = waiting[0]
        first.bundles = []
        assert seen() == 3
        assert first not in waiting
        nodes = [HEAD, {"CPU": 2.0}]
        assert seen() == 1
        slots.more = lambda: False
        assert seen() == 0
        slots.more = lambda: True
        assert seen() == 1
    assert waiting == []


def test_nodes_that_are_gone_hold_no_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    there = [{"Alive": True, "Resources": HEAD}, {"Alive": False, "Resources": GPUS}]
    monkeypatch.setattr(growth.ray, "nodes", lambda: there)
    assert growth.nodes() == [HEAD]


def test_a_cluster_that_does_not_grow_is_not_waited_for(
    waiting: list[Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = iter([[HEAD], [HEAD], [GPUS]])
    monkeypatch.setattr(growth, "nodes", lambda: next(there))
    monkeypatch.setattr(growth.time, "sleep", lambda seconds: None)
    wants, settings = Share(8, 0, {}), Resources(workers=2)
    with pytest.raises(SonotuneError, match="no node has that much"):
        growth.await_room(lambda nodes: wants, settings, False, Console(quiet=True))
    assert growth.await_room(lambda nodes: wants, settings, True, Console(quiet=True)) is wants
    assert waiting == []

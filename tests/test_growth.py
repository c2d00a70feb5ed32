"""A cluster that grows and shrinks, as its slots and its autoscaler see it: no Ray, a clock of our own."""

from typing import Any

import pytest
from rich.console import Console

from engine.driver import growth
from engine.driver.growth import LOOK_EVERY, MOST_DEMAND, Demand, Slots
from engine.driver.resources import Node, Share, share
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


def test_who_asked_for_nothing_that_is_to_come_waits_for_no_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "nodes", lambda: [HEAD])
    with pytest.raises(SonotuneError, match="no node has that much"):
        growth.await_room(lambda nodes: Share(8, 0, {}), Resources(), True, Console(quiet=True))


def test_what_a_fold_takes_is_reckoned_anew_of_the_node_that_came(
    waiting: list[Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its cores are known only when it is there."""
    there = iter([[HEAD], [HEAD], [HEAD, GPUS]])
    monkeypatch.setattr(growth, "nodes", lambda: next(there))
    monkeypatch.setattr(growth.time, "sleep", lambda seconds: None)
    settings = Resources(device="cuda", workers=2)
    found = growth.await_room(lambda nodes: share(settings, nodes), settings, True, Console(quiet=True))
    assert found == Share(8.0, 1.0, {})


def test_an_autoscaler_is_asked_for_no_more_than_it_needs_to_grow_by(waiting: list[Asked]) -> None:
    with Demand(Share(2, 0.5, {})) as demand:
        for count in (MOST_DEMAND + 100, MOST_DEMAND + 200, 2):
            demand.want(count)
            assert len(waiting) == min(count, MOST_DEMAND)
        assert waiting[0].bundles == [{"CPU": 2, "GPU": 0.5}]

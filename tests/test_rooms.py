"""What nodes have room for, and what is waited for, taken up again or looked at once more: numbers in."""

from pathlib import Path
from typing import Any

import pytest

from engine.driver.mend import completed
from engine.driver.pauses import Pauses
from engine.driver.store import check_room, packed_bytes
from engine.driver.watch import Watch
from engine.errors import SonotuneError
from engine.task import Task
from tests.packs import NINE, pack_of
from tests.played import journal, play
from tests.test_conductor import conductor, study

A, B, C = (Task(key, "r0-f0") for key in "abc")
PACK = pack_of(NINE)


def node(host: str, room: float, **more: Any) -> dict[str, Any]:
    resources = {"object_store_memory": room}
    return {"NodeManagerHostname": host, "Alive": True, "Resources": resources} | more


def test_images_and_masks_must_both_fit_into_an_object_store() -> None:
    need = packed_bytes(PACK)
    assert need >= PACK.images.nbytes + PACK.masks.nbytes
    check_room(PACK, [node("n1", need)])
    with pytest.raises(SonotuneError, match="object store on n1"):
        check_room(PACK, [node("n1", need - 1)])


@pytest.mark.parametrize("hosts", [("small", "large", "large"), ("one", "one", "one")])
def test_of_several_nodes_the_smallest_is_named_also_where_they_share_a_host(hosts: tuple[str, ...]) -> None:
    rooms = zip(hosts, (1000.0, 2.0**30, 2.0**30), strict=True)
    with pytest.raises(SonotuneError, match=f"object store on {hosts[0]} holds 0 MiB"):
        check_room(PACK, [node(*each) for each in rooms])


def test_a_node_that_says_nothing_of_its_object_store_refuses_nothing() -> None:
    check_room(PACK, [])
    check_room(PACK, [node("n1", 0.0, Resources={"CPU": 4.0})])


def test_a_pause_is_over_when_its_time_has_come_and_lone_folds_keep_their_turn() -> None:
    clock = [0.0]
    pauses = Pauses(lambda: clock[0])
    pauses.hold(A, 2.0, {"held": 1.0})
    pauses.hold_until_idle(C, {"held": 2.0})
    pauses.hold_until_idle(B, {"held": 3.0})
    clock[0] = 2.0
    assert pauses.over() == [(A, {"held": 1.0})]
    assert pauses.over() == []
    assert [pauses.next_alone() for _ in range(3)] == [(C, {"held": 2.0}), (B, {"held": 3.0}), None]


def test_a_worker_that_is_forgotten_was_never_heard() -> None:
    clock = [0.0]
    watch = Watch(lambda: clock[0])
    watch.hear("t")
    watch.forget("t")
    watch.forget("somebody who never spoke")
    clock[0] = 9.0
    assert watch.silence("t") == 0.0


def test_a_result_known_to_be_lost_is_not_looked_for_until_it_is_trained_again(tmp_path: Path) -> None:
    one = conductor(tmp_path, study(configs=2))
    tasks, records = list(play(one)), journal(tmp_path)
    assert completed(one, records) == tasks
    lost = {"event": "lost", "task": {"key": tasks[1].key, "fold": tasks[1].fold}}
    assert set(completed(one, [*records, lost])) == {*tasks} - {tasks[1]}
    again = next(r for r in records if r["event"] == "ended" and Task(**r["task"]) == tasks[1])
    assert set(completed(one, [*records, lost, again])) == {*tasks}
    stopped = again | {"status": "stopped"}
    assert set(completed(one, [*records, lost, stopped])) == {*tasks} - {tasks[1]}

"""The order of all tests, and the fixtures that several files share."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import persist
from engine.storage import Storage, open_storage
from tests.gcs_server import Server, gcs_server
from tests.refusals import Refused, refusing

LONG = ("faults", "smoke")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files whose tests take minutes come first: a worker that got one last would keep the others waiting."""
    many = Counter(item.path for item in items if any(item.get_closest_marker(name) for name in LONG))
    items.sort(key=lambda item: -many[item.path])


@pytest.fixture
def leaves_nothing(tmp_path: Path) -> Iterator[None]:
    """The folder of a test is no temporary file that its search leaves behind."""
    from tests.faulty import nothing_left_behind

    with nothing_left_behind():
        yield


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def refused(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Refused:
    """Runs `sonotune` in a folder of its own and gives back its message."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("SONOTUNE_CACHE", str(cache))
    return refusing(work, monkeypatch, capsys)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A storage is tried again at once, and less often."""
    monkeypatch.setattr(persist, "PAUSES", (0.0, 0.0, 0.0))


@pytest.fixture
def google() -> Iterator[Server]:
    pytest.importorskip("gcp_storage_emulator")
    with gcs_server() as server:
        yield server


@pytest.fixture
def in_google(google: Server) -> Storage:
    return open_storage(google.uri("run"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that a broken one must end like."""
    from tests.faulty import search

    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    search(folder)
    return folder

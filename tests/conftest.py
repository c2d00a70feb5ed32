"""Fixtures of the tests that break real searches."""

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def leaves_nothing(tmp_path: Path) -> Iterator[None]:
    """The folder of a test is no temporary file that its search leaves behind."""
    from tests.faulty import nothing_left_behind

    with nothing_left_behind():
        yield


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that a broken one must end like."""
    from tests.faulty import search

    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    search(folder)
    return folder

"""A whole search whose run lies in a bucket: real Ray, real training, a real server of S3 or Google's."""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from engine.journal.journal import read_journal
from engine.results import RunPaths, read_result
from engine.storage import open_storage
from engine.task import Task
from tests.gcs_server import gcs_server
from tests.s3_server import CREDENTIALS, s3_server

ROOT = Path(__file__).parents[1]
SEARCH = """
import sys
from pathlib import Path
from rich.console import Console
from engine.driver.launch import resume, search
from engine.spec.load import load
if sys.argv[1] == "search":
    search(load(Path("searchspaces/quickstart.yaml"), "smoke"), sys.argv[2], Console())
else:
    resume(sys.argv[2], Console())
"""


def sonotune(what: str, uri: str, cache: Path) -> None:
    environment = os.environ | CREDENTIALS | {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(cache)}
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SEARCH, what, uri], cwd=ROOT, env=environment, check=True
    )


@pytest.mark.slow
@pytest.mark.parametrize("serving", [s3_server, gcs_server])
def test_a_search_in_a_bucket_ends_and_its_resume_trains_nothing_twice(
    serving: Callable[[], AbstractContextManager[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with serving() as server:
        uri = server.uri("demo")
        sonotune("search", uri, tmp_path)
        storage = open_storage(uri)
        ended = [r for r in read_journal(storage)[0] if r["event"] == "ended"]
        assert [r["status"] for r in ended] == ["complete"] * 4
        for record in ended:
            assert read_result(storage, Task(**record["task"])) is not None
        sonotune("resume", uri, tmp_path)
        assert len([r for r in read_journal(storage)[0] if r["event"] == "ended"]) == 4
        assert storage.list(RunPaths.results) == sorted({record["task"]["key"] for record in ended})
        assert not storage.exists("lock")

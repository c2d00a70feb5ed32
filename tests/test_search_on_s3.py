"""A whole search whose run lies in a bucket: real Ray, real training, a real S3 server."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.journal.journal import read_journal
from engine.results import read_result
from engine.storage import open_storage
from engine.task import Task
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
def test_a_search_in_a_bucket_ends_and_its_resume_trains_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with s3_server() as server:
        uri = server.uri("demo")
        sonotune("search", uri, tmp_path)
        storage = open_storage(uri)
        ended = [r for r in read_journal(storage)[0] if r["event"] == "ended"]
        assert [r["status"] for r in ended] == ["complete"] * 4
        for record in ended:
            assert read_result(storage, Task(**record["task"])) is not None
        sonotune("resume", uri, tmp_path)
        assert len([r for r in read_journal(storage)[0] if r["event"] == "ended"]) == 4
        assert not storage.exists("lock")

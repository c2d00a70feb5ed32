"""What the page says: its numbers, its tables, and that nothing in it can do harm."""

import csv
import html
import io
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from engine.errors import SonotuneError
from reports.latex import latex
from reports.load import load
from reports.page import markdown
from reports.tables import Column, Table
from reports.write import write
from tests.runs import Plan, make_run, rewrite

HOSTILE = (
    '"><script>window.hurt=1</script><img src=x onerror="window.hurt=2">{{ 7*7 }} \\input{/etc/passwd} =1+1'
)
RECOUNT = Path(__file__).parent / "recount.py"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "demo"
    return Path(write(str(make_run(folder, Plan(configs=8, dropped=2, cases=120, repeats=2)))))


class Cells(HTMLParser):
    """The text of every table cell, by table."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self._rows: list[list[str]] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self._rows = self.tables.setdefault(str(dict(attrs)["id"])[2:], [])
        if tag == "tr":
            self._rows.append([])
        if tag == "td":
            self._rows[-1].append("")
            self._inside = True

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag != "td"

    def handle_data(self, data: str) -> None:
        if self._inside:
            self._rows[-1][-1] += data


def test_the_leaderboard_equals_a_recount_from_the_case_files(page: Path) -> None:
    run = page.parent.parent
    told = subprocess.run(
        [sys.executable, str(RECOUNT), str(run)], capture_output=True, text=True, check=True
    )
    recounted = json.loads(told.stdout)
    reader = Cells()
    reader.feed(page.read_text())
    rows = [row for row in reader.tables["leaderboard"] if row]
    assert len([row for row in rows if row[1] in recounted]) == len(recounted) == 6
    for row in rows:
        if row[1] in recounted:
            assert set(recounted[row[1]]) <= set(row), (row, recounted[row[1]])


def test_every_number_of_a_table_stands_in_its_csv(page: Path) -> None:
    reader = Cells()
    reader.feed(page.read_text())
    for name, rows in reader.tables.items():
        lines = list(csv.reader(io.StringIO((page.parent / f"tables/{name}.csv").read_text())))
        for cells, line in zip([row for row in rows if row], lines[1:], strict=False):
            known = [float(v) for v in line if re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", v)]
            for cell in (c for c in cells if c not in line and not c.startswith("< ")):
                for number in re.findall(r"(?<![\w.])-?\d+\.\d{2,4}(?![\w.])", cell.replace("−", "-")):
                    digits = len(number.split(".")[1])
                    assert any(abs(k - float(number)) <= 0.5000001 * 10**-digits for k in known), (name, cell)


def test_every_figure_names_csv_files_that_exist(page: Path) -> None:
    links = re.findall(r'href="((?:tables|figures)/[^"]+)"', page.read_text())
    assert len(links) > 20
    assert all((page.parent / link).is_file() for link in links)
    drawn = {path.stem for path in (page.parent / "figures").glob("*.svg")}
    pictures = {path.stem: path.read_bytes() for path in (page.parent / "figures").glob("*.png")}
    assert set(pictures) == drawn
    assert all(data.startswith(b"\x89PNG") for data in pictures.values())


def test_the_page_fetches_nothing_and_stays_small(page: Path) -> None:
    text = html.unescape(page.read_text())
    assert page.stat().st_size < 5_000_000
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', text)
    assert "default-src 'none'" in text


def test_a_latex_table_compiles_in_shape(page: Path) -> None:
    text = (page.parent / "tables/leaderboard.tex").read_text()
    assert r"\toprule" in text
    assert r"\textbf{" in text
    assert r"\underline{" in text
    widths = {line.count(" & ") for line in text.splitlines() if line.endswith(r"\\")}
    assert len(widths) == 1


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("läsion µ_1", r"läsion µ\_1"),
        ("a\u0301", "á"),
        ("肿|Łódź", r"\texttt{U+80BF}\textbar{}Łódź"),
        ("ValueError: x\n  at fold.py", "ValueError: x at fold.py"),
        ("[1] a", "{}[1] a"),
        ("*", "{}*"),
    ],
)
def test_a_latex_table_holds_only_what_latex_can_set(name: str, told: str) -> None:
    table = Table("cases", "Cases", (Column("case", "Case", "text"),), [{"case": name}])
    assert latex(table).decode().splitlines()[7] == rf"{told} \\"


def test_a_latex_table_keeps_the_note_below_it() -> None:
    """Rows of a paper beside ours would look comparable without it."""
    table = Table("t", "T", (Column("a", "A"),), [{"a": 1.0}], note="Not comparable, s/√n is 5 %.")
    lines = latex(table).decode().splitlines()
    assert lines[-3:] == [
        r"\end{tabular}",
        r"\par\footnotesize Not comparable, s/$\surd$n is 5 \%.",
        r"\end{table}",
    ]


def test_markdown_takes_nothing_of_a_name_for_its_own() -> None:
    """GitHub strikes out what stands between the homes of two paths."""
    said = "--set data.root=~/a --set data.ids=~/b $x$ &lt;"
    told = markdown(said, "", (), ()).decode().splitlines()[0]
    assert told == r"# --set data.root=\~/a --set data.ids=\~/b \$x\$ \&lt;"


def test_a_report_is_the_same_twice(page: Path) -> None:
    before = page.read_bytes(), (page.parent / "summary.json").read_bytes()
    write(str(page.parent.parent))
    assert (page.read_bytes(), (page.parent / "summary.json").read_bytes()) == before


def test_a_hostile_study_stays_text_everywhere(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", Plan(configs=3, name=HOSTILE))
    victim = load(str(folder)).configs[0]
    rewrite(folder, victim.id, "r0-f0", status="failed", error=HOSTILE, warnings=[HOSTILE])
    text = Path(write(str(folder))).read_text()
    assert "<script>window" not in text
    assert "<img src=x" not in text
    assert "{{ 7*7 }}" in text
    assert text.count("<script>") == 1
    spoken = re.sub(r"^(`{3,})\n.*?^\1$", "", (folder / "report/report.md").read_text(), flags=re.M | re.S)
    assert "<script>" not in spoken.replace("\\<script\\>", "")
    for table in (folder / "report/tables").glob("*.csv"):
        assert not re.search(r"(^|,)=1", table.read_text(), re.M)
    for table in (folder / "report/tables").glob("*.tex"):
        assert r"\input" not in table.read_text()


def test_a_run_that_has_just_begun_gets_a_report(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", Plan(configs=2))
    shutil.rmtree(folder / "results")
    assert "nothing can be picked" in Path(write(str(folder))).read_text()
    assert json.loads((folder / "report/summary.json").read_text())["picked"] is None


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plan = Plan(configs=2, folds=2, cases=40, epochs=2, select={"bootstraps": 100})
    return make_run(tmp_path_factory.mktemp("runs") / "small", plan)


FILES = ("study.yaml", "folds.json", "journal.jsonl", "provenance.json")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", [None, b"", b"\x00\xff{", b"[]"])
def test_a_run_folder_without_a_sound_file_is_read_all_the_same(
    small: Path, tmp_path: Path, name: str, content: bytes | None
) -> None:
    folder = shutil.copytree(small, tmp_path / "run")
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    run = load(str(folder))
    assert len(run.complete) == 2
    assert name in {problem.where for problem in run.problems} or name == "journal.jsonl"


def test_a_run_folder_without_any_of_these_files_gets_a_report(small: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(small, tmp_path / "run")
    for name in FILES:
        (folder / name).unlink()
    text = Path(write(str(folder))).read_text()
    assert "Left out" in text
    assert "folds.json" in text


def test_a_journal_of_somebody_else_does_not_stop_a_report(small: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(small, tmp_path / "run")
    task = {"key": load(str(folder)).configs[0].id, "fold": "r0-f0"}
    ended = {"event": "ended", "task": task, "held": "long", "clock": []}
    others = [{"event": "reported", "epoch": {}}, {"event": "dropped", "config": 7}, {"event": ["odd"]}, [1]]
    lines = [ended, *others]
    (folder / "journal.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    write(str(folder))
    assert "journal.jsonl" in (folder / "report/tables/missing.csv").read_text()


def test_a_foreign_result_is_listed(small: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(small, tmp_path / "run")
    (folder / "results/foreign/r0-f0").mkdir(parents=True)
    (folder / "results/foreign/r0-f0/result.json").write_text('{"from": "elsewhere"}')
    (folder / "results/stray.txt").write_text("?")
    write(str(folder))
    assert "results/foreign/r0-f0" in (folder / "report/report.md").read_text().replace("\\", "")


def test_a_select_section_that_does_not_fit_is_one_clear_message(small: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(small, tmp_path / "run")
    study = yaml.safe_load((folder / "study.yaml").read_text())
    (folder / "study.yaml").write_text(yaml.safe_dump(study | {"select": {"rule": "luck"}}))
    with pytest.raises(SonotuneError, match="select"):
        write(str(folder))


def test_a_single_task_run_gets_a_report(tmp_path: Path) -> None:
    folder = make_run(
        tmp_path / "run", Plan(configs=3, folds=2, cases=60, task="segment", select={"bootstraps": 100})
    )
    summary = json.loads((Path(write(str(folder))).parent / "summary.json").read_text())
    assert "dice" in summary["configs"][0]["test"]
    assert "accuracy" not in summary["configs"][0]["test"]
    assert summary["estimates"]


def test_the_case_files_have_all_rows(page: Path) -> None:
    run = load(str(page.parent.parent))
    config = run.complete[0]
    read = sum(
        pq.read_table(page.parent.parent / f"results/{config.id}/{f}/cases_test.parquet").num_rows
        for f in run.folds
    )
    assert read == 240

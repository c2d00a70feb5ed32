"""The report as a person uses it, in headless Chromium. SONOTUNE_SHOTS names a folder for screenshots."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from reports.write import write
from tests.browser import CHROMIUM, Page, browser
from tests.runs import Plan, make_run

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (Debian: apt-get install chromium)"),
]
HOSTILE = '<img src=x onerror="window.hurt=1"><script>window.hurt=2</script>"\'>{{7*7}}'
SHOTS = os.environ.get("SONOTUNE_SHOTS")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plan = Plan(configs=12, folds=5, cases=150, dropped=4, epochs=10, select={"bootstraps": 200})
    return Path(write(str(make_run(tmp_path_factory.mktemp("runs") / "demo", plan))))


@pytest.fixture(scope="module")
def tab() -> Iterator[Page]:
    with browser() as page:
        yield page


@pytest.fixture
def page(tab: Page, report: Path) -> Page:
    tab.events.clear()
    tab.size(1280, 900)
    tab.open(report.as_uri())
    return tab


def column(page: Page, number: int) -> list[str]:
    script = (
        f"[...document.querySelectorAll('#t-leaderboard tbody tr')].map(r => r.cells[{number}].dataset.v)"
    )
    return list(page.run(script))


def shoot(page: Page, name: str) -> None:
    if SHOTS:
        page.shot(Path(SHOTS) / f"{name}.png")


def test_it_opens_from_disk_without_a_complaint_or_a_request(page: Page, report: Path) -> None:
    assert page.requests == [report.as_uri()]
    assert page.complaints == []


def test_a_click_sorts_the_leaderboard_and_another_turns_it(page: Page) -> None:
    head = "document.querySelectorAll('#t-leaderboard th button')[3]"
    page.run(f"{head}.click()")
    falling = [float(v) for v in column(page, 3) if v]
    assert falling == sorted(falling, reverse=True)
    page.run(f"{head}.click()")
    rising = [float(v) for v in column(page, 3) if v]
    assert rising == sorted(rising)
    assert column(page, 3)[-1] == ""
    assert page.run(f"{head}.parentNode.getAttribute('aria-sort')") == "ascending"


def test_the_keyboard_sorts_as_well(page: Page) -> None:
    page.run("document.querySelectorAll('#t-leaderboard th button')[2].focus()")
    page.press("Enter")
    scores = [float(v) for v in column(page, 2) if v]
    assert scores == sorted(scores, reverse=True)
    page.press("Tab")
    assert page.run("document.activeElement.className") == "sort"


def test_the_filter_leaves_what_matches(page: Page) -> None:
    box = "document.querySelector('input[data-table=t-leaderboard]')"
    page.run(f"{box}.value = 'dropped'; {box}.dispatchEvent(new Event('input'))")
    shown = "[...document.querySelectorAll('#t-leaderboard tbody tr')].filter(r => !r.hidden).length"
    assert page.run(shown) == 4
    assert page.run("document.querySelector('#table-leaderboard .count').textContent") == "4 of 12 rows"


def test_the_yaml_is_copied(page: Page) -> None:
    page.call("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    page.run("navigator.clipboard.writeText = async (text) => { window.copied = text; }")
    page.run("document.querySelector('button.copy').click(); new Promise(r => setTimeout(r, 50))")
    assert page.run("window.copied") == page.run("document.getElementById('code-yaml').textContent")
    assert "lambda:" in page.run("window.copied")
    assert page.run("document.getElementById('said').textContent") == "Copied"


def test_the_theme_is_switched_and_kept(page: Page, report: Path) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.run(paper)
    page.run("document.getElementById('theme').click()")
    dark = page.run(paper)
    assert light != dark
    page.open(report.as_uri())
    assert page.run(paper) == dark
    page.run("document.getElementById('theme').click()")


def contrast(page: Page, selector: str) -> float:
    return float(page.run(CONTRAST.replace("SELECTOR", selector)))


CONTRAST = """(() => {
  const light = c => { const v = c.match(/[\\d.]+/g).slice(0, 3).map(x => x / 255)
      .map(x => x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
    return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2]; };
  const ink = light(getComputedStyle(document.querySelector('SELECTOR')).color);
  const paper = light(getComputedStyle(document.body).backgroundColor);
  return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
})()"""


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out_from_its_paper(page: Page, dark: bool) -> None:
    page.size(1280, 900, dark)
    for selector in ("main p", ".note", "nav a", "a", "td.is-complete", ".headline .label"):
        assert contrast(page, selector) >= 4.5, selector


def test_no_table_scrolls_sideways_on_a_small_desktop(page: Page) -> None:
    page.size(1280, 900)
    wide = "[...document.querySelectorAll('.table .scroll')].filter(e => e.scrollWidth > e.clientWidth + 1)"
    assert page.run(f"{wide}.map(e => e.getAttribute('aria-label'))") == []


@pytest.mark.parametrize(("name", "width"), [("desktop", 1280), ("phone", 390)])
def test_no_width_scrolls_sideways(page: Page, name: str, width: int) -> None:
    page.size(width, 900)
    shoot(page, name)
    assert page.run("document.documentElement.scrollWidth") <= width
    for section in page.run("[...document.querySelectorAll('section')].map(s => s.id)"):
        page.run(f"document.getElementById('{section}').scrollIntoView({{behavior: 'instant'}})")
        shoot(page, f"{name}-{section}")


def test_every_drawing_has_a_name_and_no_id_comes_twice(page: Page) -> None:
    assert page.run("[...document.querySelectorAll('svg')].every(s => s.getAttribute('aria-label'))")
    ids = page.run("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))


PAPER = 718  # pixels between the margins of an A4 page


@pytest.mark.parametrize("theme", ["", "dark"])
def test_a_print_is_dark_on_white_with_no_row_or_column_hidden(page: Page, theme: str) -> None:
    """Also of a reader whose system or choice is dark."""
    page.size(PAPER, 1000, dark=True)
    dark = {"name": "prefers-color-scheme", "value": "dark"}
    page.call("Emulation.setEmulatedMedia", media="print", features=[dark])
    page.run(f"document.documentElement.dataset.theme = '{theme}'")
    assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.run("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert page.run("getComputedStyle(document.querySelector('.table .scroll')).maxHeight") == "none"
    assert page.run("document.documentElement.scrollWidth") <= PAPER
    assert page.run("getComputedStyle(document.querySelector('td.seconds')).whiteSpace") == "nowrap"
    page.call("Emulation.setEmulatedMedia", media="")


def test_a_hostile_study_does_nothing(tab: Page, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", Plan(configs=2, name=HOSTILE, select={"bootstraps": 100}))
    tab.events.clear()
    tab.open(Path(write(str(folder))).as_uri())
    assert tab.run("window.hurt === undefined")
    assert tab.run("document.querySelector('h1').textContent") == HOSTILE
    assert tab.complaints == []
    tab.run("document.body.insertAdjacentHTML('beforeend', '<img src=data:, onerror=\"window.hurt = 3\">')")
    tab.run("new Promise(r => setTimeout(r, 100))")
    assert tab.run("window.hurt === undefined")


def test_less_is_better_and_names_sort_upwards_at_first(page: Page) -> None:
    heads = page.run("[...document.querySelectorAll('#t-leaderboard th')].map(h => h.textContent)")
    hd95 = next(at for at, name in enumerate(heads) if "HD95" in name)
    page.run(f"document.querySelectorAll('#t-leaderboard th button')[{hd95}].click()")
    distances = [float(v) for v in column(page, hd95) if v]
    assert distances == sorted(distances)
    page.run("""document.querySelectorAll('#t-leaderboard td.id').forEach((cell, at) => {
        cell.dataset.v = ['1e3', '0a', '12', '2b', 'ff', '9'][at % 6]; })""")
    page.run("document.querySelectorAll('#t-leaderboard th button')[1].click()")
    assert column(page, 1) == sorted(column(page, 1))

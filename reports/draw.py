"""Drawing: one look for every figure, as SVG that follows the page's light and dark themes."""

import base64
import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas
from matplotlib.layout_engine import ConstrainedLayoutEngine

INK, SOFT, GRID = "#1d2530", "#5d6878", "#d9dee6"
# Okabe and Ito's colours, told apart by people who see fewer; darkened a little for text-sized marks.
SERIES = ("#0f6cbd", "#c8500a", "#0a7d5c", "#a8498c", "#8a6d00", "#3a8fb7", "#7a5195", "#636b75")
PNG_DPI = 150
MARGIN = 0.12  # inches: browsers set the labels in a font of their own, which may be wider
TOKENS = {INK: "--ink", SOFT: "--soft", GRID: "--line"} | {c: f"--s{n}" for n, c in enumerate(SERIES)}

STYLE: Any = {
    "svg.fonttype": "none", "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9, "axes.titlesize": 9.5, "axes.labelsize": 9, "axes.edgecolor": SOFT,
    "axes.labelcolor": SOFT, "text.color": INK, "xtick.color": SOFT, "ytick.color": SOFT,
    "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.7, "axes.grid": True,
    "grid.color": GRID, "grid.linewidth": 0.6, "axes.axisbelow": True, "figure.facecolor": "none",
    "axes.facecolor": "none", "legend.frameon": False, "legend.fontsize": 8.5, "lines.linewidth": 1.6,
    "axes.titlelocation": "left", "axes.titlecolor": INK,
    "xtick.major.width": 0.6, "ytick.major.width": 0.6, "axes.formatter.useoffset": False,
    "text.parse_math": False,  # names come from anywhere: a dollar in one is no formula
}  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """A drawing and the tables that hold every number in it."""

    name: str
    title: str
    svg: str
    png: bytes
    tables: tuple[str, ...]
    note: str = ""

    @property
    def inline(self) -> str:
        """For the page: themed colours, own ids, a title for screen readers, no style of its own."""
        body = re.sub(r"<style.*?</style>", "", self.svg[self.svg.index("<svg") :], flags=re.S)
        body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.S)
        wide = re.search(r'width="([\d.]+)pt"', body)
        body = re.sub(r'(width|height)="[\d.]+pt" ', "", body, count=2)
        for colour, token in TOKENS.items():
            body = body.replace(colour, f"var({token})")
        name = f'role="img" aria-label="{escape(self.title)}"'
        return body.replace("<svg ", f'<svg {name} style="max-width:{wide[1] if wide else 600}pt" ', 1)


@contextmanager
def canvas(name: str, width: float = 6.4, height: float = 3.2) -> Iterator[Canvas]:
    """Without pyplot no figure is kept that somebody would have to close. The look is set for the whole
    process while one is drawn, so they are drawn one after the other."""
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": name}):
        yield Canvas(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=MARGIN))


def draw(
    name: str, title: str, tables: tuple[str, ...], paint: Callable[[Canvas], Any],
    width: float = 6.4, height: float = 3.2, note: str = "",
) -> Figure:  # fmt: skip
    with canvas(name, width, height) as sheet:
        paint(sheet)
        engine = sheet.get_layout_engine()
        assert engine is not None
        engine.execute(sheet)
        sheet.set_layout_engine("none")  # once is enough: `savefig` would lay it out again for every file
        svg, png = _svg(sheet), _png(sheet)
    return Figure(name, title, _own_ids(svg, name), png, tables, note)


def _svg(sheet: Canvas) -> str:
    sink = io.StringIO()
    FigureCanvasSVG(sheet).print_svg(sink, metadata={"Date": None, "Creator": None})
    return sink.getvalue()


def _png(sheet: Canvas) -> bytes:
    """For places that take no SVG; on white paper."""
    sheet.set_facecolor("white")
    sheet.set_dpi(PNG_DPI)
    sink = io.BytesIO()
    FigureCanvasAgg(sheet).print_png(sink, metadata={"Software": None})
    return sink.getvalue()


def _own_ids(svg: str, name: str) -> str:
    """Several drawings share a page: their ids must not meet."""
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'(xlink:href=|href=)"#([^"]+)"', rf'\1"#{name}-\2"', svg)
    return re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)


def picture(data: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"

"""Tables for a paper: booktabs, mean ± std, the best in bold, the second underlined."""

from unicodedata import normalize

from reports.tables import WORDS, Column, Row, Table, shown

SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "–": "--",
    "∞": r"$\infty$", "λ": r"$\lambda$", "α": r"$\alpha$", "γ": r"$\gamma$", "↑": r"$\uparrow$",
    "↓": r"$\downarrow$", "<": r"\textless{}", ">": r"\textgreater{}", "−": "$-$", "·": r"$\cdot$",
    "√": r"$\surd$", "≥": r"$\geq$", "≤": r"$\leq$", "σ": r"$\sigma$", "|": r"\textbar{}",
}  # fmt: skip
SET = {*map(chr, range(0xA1, 0x180)), *"‘’“”†‡•…‰€™→←"} - {*"«»ÐÞðþĄąĐđĘęĦħĮįĸĿŀŉŊŋŦŧŲųſ"}  # as they are


def escape(text: str) -> str:
    """Names come from anywhere: paths, cases, what an exception said over several lines."""
    one_line = normalize("NFC", " ".join(text.split()))
    return "".join(_set(letter) for letter in one_line if letter.isprintable())


def _set(letter: str) -> str:
    """pdfLaTeX stops at a letter for which it has no font, so its number stands there."""
    known = letter.isascii() or letter in SET
    return SPECIAL.get(letter, letter if known else rf"\texttt{{U+{ord(letter):04X}}}")


def latex(table: Table) -> bytes:
    """With its note below: a printed row of another data set must not lose the words that say so."""
    ranks = table.ranks()
    align = "".join("l" if c.kind in WORDS else "r" for c in table.columns)
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{escape(table.title)}}}"]
    lines += [rf"\begin{{tabular}}{{{align}}}", r"\toprule", _line([escape(_head(c)) for c in table.columns])]
    lines += [r"\midrule"]
    lines += [
        _line([_cell(column, row, ranks.get((n, column.key))) for column in table.columns])
        for n, row in enumerate(table.rows)
    ]
    note = [rf"\par\footnotesize {escape(table.note)}"] if table.note else []
    lines += [r"\bottomrule", r"\end{tabular}", *note, r"\end{table}", ""]
    return "\n".join(lines).encode()


def _head(column: Column) -> str:
    arrow = {"high": " ↑", "low": " ↓"}.get(column.better or "", "")
    return column.label + arrow


def _line(cells: list[str]) -> str:
    """A row that begins like an argument of the line break before it would be taken for one."""
    row = " & ".join(cells) + r" \\"
    return f"{{}}{row}" if row.startswith(("[", "*")) else row


def _cell(column: Column, row: Row, rank: str | None) -> str:
    text = escape(shown(column, row))
    return {"best": rf"\textbf{{{text}}}", "second": rf"\underline{{{text}}}"}.get(rank or "", text)

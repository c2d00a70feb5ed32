"""`sonotune predict` and `sonotune export`: what a finished search is good for."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

RunFolder = Annotated[str, typer.Argument(help="Folder or URI of a run that has a report.")]
Images = Annotated[list[Path], typer.Argument(help="Image files: PNG, JPEG, BMP or TIFF.")]
Out = Annotated[Path, typer.Option(help="Folder for masks, overlays and predictions.csv.")]
To = Annotated[Path, typer.Option("--to", help="A new folder for the networks.")]
Json = Annotated[bool, typer.Option("--json", help="Print the findings for programs.")]


def predict(run: RunFolder, image: Images, out: Out = Path("predictions"), as_json: Json = False) -> None:
    """Segment and classify images with the picked configuration's networks of all folds."""
    from engine.predict.ensemble import fastest_device, load_picked
    from engine.predict.predict import predict as look

    picked = load_picked(run, fastest_device())
    findings = look(picked, image, out)
    if as_json:
        typer.echo(json.dumps([finding.record() for finding in findings], indent=1))
        return
    rows = Table(box=None)
    rows.add_column("image", overflow="fold")  # cut short, images of one folder would all look the same
    for name in ("class", "probability", "lesion pixels", "incoherent", "folds differ"):
        rows.add_column(name)
    for found in findings:
        sure = max(found.probabilities.values()) if found.probabilities else None
        differ = (found.class_disagreement, found.mask_disagreement)
        rows.add_row(
            escape(_text(found.image)),
            escape(found.label or ""),
            _number(sure),
            "" if found.lesion_pixels is None else str(found.lesion_pixels),
            "yes" if found.incoherent else "",
            " / ".join(_number(value) for value in differ if value is not None),
        )
    Console().print(rows)
    Console().print(f"written: {out}", markup=False, soft_wrap=True, highlight=False)


def export(run: RunFolder, to: To) -> None:
    """Write the picked networks as state dicts, torch.export and ONNX, with a description."""
    from engine.predict.ensemble import load_picked
    from engine.predict.export import export as write

    done = write(load_picked(run, "cpu"), to)
    for path in done.files:
        typer.echo(f"{path}  {path.stat().st_size / 1e6:.1f} MB")


def _text(name: str) -> str:
    """A file's name may hold bytes that are no text."""
    return name.encode("utf-8", "backslashreplace").decode()


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"

"""`data`: which images, and how they are packed into squares."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from engine.spec.section import Section, for_editors, form

Source = Literal["phantom", "busi", "bus_uclm", "udiat", "bus_bra", "manifest"]
WITHOUT_NORMALS = ("udiat", "bus_bra")
TAKEN = ("macro", "weighted", "pooled", "undefined", "directed")
NAMED = "[A-Za-z][A-Za-z0-9_-]{0,39}"
NAMED_SO = (
    "should be a letter, then letters, digits, '_' and '-', 40 in all at most; rename it in the data set"
)
ClassName = Annotated[str, form(NAMED, NAMED_SO), for_editors(NAMED)]


class Data(Section):
    source: Source = "phantom"
    """The layout of the data set on disk; `phantom` generates synthetic images and needs no disk."""
    root: str | None = None
    """The data set's folder; for `manifest` the CSV or Parquet file."""
    classes: tuple[ClassName, ...] = Field(("benign", "malignant", "normal"), min_length=2, max_length=20)
    """Chooses and orders the labels; cases of other classes are left out. `normal` is the one without a
    lesion; unset, it is left out for `udiat` and `bus_bra`, which have no such images."""
    size: int = Field(128, ge=16, le=2048)
    """Side of the square that every image is resized to."""
    aspect: Literal["stretch", "pad"] = "stretch"
    """`pad` keeps the proportions and fills up with black; `stretch` does not."""
    keep: Literal["all", "curated"] = "all"
    """`curated` keeps only the cases that the file `ids` lists."""
    ids: str | None = None
    """A CSV of cases to keep: a column `case`, or `class;id` as Curated BUSI writes it."""
    groups: str = Field("found", min_length=1)
    """Duplicates that `folds.group_by` keeps together: `found` while packing, `none`, or a file that
    `sonotune data audit --write-groups` wrote and a person may have edited."""
    other_mask_size: Literal["refuse", "resize"] = "refuse"
    """What to do with a mask of another size than its image: refuse the case, or resize the mask to it."""
    official_folds: Literal[5, 10] = 5
    """Which of the two official divisions of `bus_bra` its cases carry."""
    skip_broken: bool = False
    """Leave broken cases out and list them, instead of refusing the data set."""
    count: int = Field(180, ge=6, le=100_000)
    """How many images `phantom` generates."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Of `phantom`: the same seed gives the same images."""

    @model_validator(mode="before")
    @classmethod
    def _classes_of_source(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "classes" in given or given.get("source") not in WITHOUT_NORMALS:
            return given
        return given | {"classes": ("benign", "malignant")}

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(set(self.classes)) != len(self.classes):
            raise ValueError(f"classes must differ from each other, got {', '.join(self.classes)}")
        if taken := [name for name in self.classes if name.lower() in TAKEN]:
            raise ValueError(
                f"a class cannot be named {taken[0]!r}: other figures end like that (f1_macro); "
                "rename it in the data set"
            )
        if odd := [name for name in self.classes if name != "normal" and name.lower() == "normal"]:
            raise ValueError(f"the class without a lesion is written 'normal', got {odd[0]!r}")
        if self.source != "phantom" and not self.root:
            raise ValueError(f"source {self.source} needs root, the place of the data set")
        if self.keep == "curated" and not self.ids:
            raise ValueError("keep: curated needs ids, the file of the cases to keep")
        if self.keep == "all" and self.ids:
            raise ValueError("ids has no effect without keep: curated")
        return self

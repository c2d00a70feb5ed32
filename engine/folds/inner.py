"""Inner folds: a fold's training cases dealt once more, so that no network masks a case it was trained on."""

from engine.data.cases import Pack
from engine.errors import SonotuneError
from engine.folds.dealing import deal, table_of
from engine.folds.make import derive
from engine.folds.manifest import Fold
from engine.spec.folds import Folds

INNER = 3  # what a seed is drawn for, after those of `engine.folds.make`


def inner_parts(pack: Pack, spec: Folds, fold: Fold, count: int) -> tuple[tuple[str, ...], ...]:
    """The held-out cases of each inner fold, grouped and stratified as the folds themselves; none of 0."""
    if count == 0:
        return ()
    table = table_of(pack, spec)
    rows = table.rows(fold.train)
    level = 0 if fold.outer is None else fold.outer + 1
    try:
        dealt = deal(table, rows, count, derive(spec.seed, INNER, fold.repeat, fold.fold, level))
    except SonotuneError as error:
        raise SonotuneError(
            f"model.two_stage.inner_folds={count} is too many for the training part of fold {fold.name}: "
            f"{str(error).partition(';')[0]}; use a smaller inner_folds, or masks: truth"
        ) from error
    return tuple(tuple(sorted(table.names[row] for row in rows[dealt == part])) for part in range(count))

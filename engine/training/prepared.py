"""Preprocessed images, kept by the worker: all folds and configurations that share a recipe share them."""

from collections import OrderedDict

import numpy as np

from engine.data.cases import Pack
from engine.data.preprocess import prepare
from engine.spec.preprocess import Preprocess
from engine.spec.study import short_hash

MOST = 2**30  # bytes that stay for later folds; what was prepared last stays whatever its size

_cache: OrderedDict[tuple[str, str, bytes], np.ndarray] = OrderedDict()


def prepared(pack: Pack, preprocess: Preprocess, training: np.ndarray) -> np.ndarray:
    """float32 [N, H, W, C]. `training` are the rows that statistics of the data set may be taken from."""
    asked = training.tobytes() if preprocess.normalise == "dataset" else b""
    key = (pack.fingerprint, short_hash(preprocess.model_dump(mode="json")), asked)
    if key not in _cache:
        _cache[key] = prepare(pack.images, preprocess, training)
    _cache.move_to_end(key)
    while len(_cache) > 1 and sum(each.nbytes for each in _cache.values()) > MOST:
        _cache.popitem(last=False)
    return _cache[key]

"""Preprocessed images, kept by the worker: all folds and configurations that share a recipe share them."""

from collections import OrderedDict

import numpy as np

from engine.data.cases import Pack
from engine.data.preprocess import prepare
from engine.spec.preprocess import Preprocess
from engine.spec.study import short_hash

KEEP = 4

_cache: OrderedDict[tuple[str, str, bytes], np.ndarray] = OrderedDict()


def prepared(pack: Pack, preprocess: Preprocess, training: np.ndarray) -> np.ndarray:
    """float32 [N, H, W, C]. `training` are the rows that statistics of the data set may be taken from."""
    key = (pack.fingerprint, short_hash(preprocess.model_dump(mode="json")), training.tobytes())
    if key not in _cache:
        _cache[key] = prepare(pack.images, preprocess, training)
        while len(_cache) > KEEP:
            _cache.popitem(last=False)
    _cache.move_to_end(key)
    return _cache[key]

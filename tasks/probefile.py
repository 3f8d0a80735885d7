"""A probe as two small files, so that a job scans each source once: MediaInfo as JSON, the frame indexes as numpy arrays."""

from __future__ import annotations

import io
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter

from tasks.messages import FrameIndex, MediaInfo, Probe

_INFO = TypeAdapter(MediaInfo)
_COLUMNS = ("pts", "duration", "keyframe", "packet", "packet_bytes")
#: Before the names of the columns of ``Probe.coded``.
_CODED = "coded_"


def save_probe(probe: Probe) -> tuple[bytes, bytes]:
    """(JSON of the description, npz of the indexes); equal probes give equal bytes."""
    columns = _columns(probe.index, "")
    if probe.coded is not None:
        columns |= _columns(probe.coded, _CODED)
    buffer = io.BytesIO()
    np.savez(buffer, **columns)
    return _INFO.dump_json(probe.info, indent=1), buffer.getvalue()


def load_probe(json_bytes: bytes, npz_bytes: bytes) -> Probe:
    """The exact inverse of ``save_probe``; raises ValueError or KeyError on bytes that are not a saved probe."""
    with np.load(io.BytesIO(npz_bytes), allow_pickle=False) as stored:
        coded = _index(stored, _CODED) if f"{_CODED}pts" in stored else None
        return Probe(_INFO.validate_json(json_bytes), _index(stored, ""), coded)


def _columns(index: FrameIndex, prefix: str) -> dict[str, Any]:
    base = np.array([index.time_base.numerator, index.time_base.denominator], dtype=np.int64)
    return {f"{prefix}time_base": base} | {f"{prefix}{name}": getattr(index, name) for name in _COLUMNS}


def _index(stored: Mapping[str, npt.NDArray[Any]], prefix: str) -> FrameIndex:
    numerator, denominator = (int(v) for v in stored[f"{prefix}time_base"])
    columns = {name: stored[f"{prefix}{name}"] for name in _COLUMNS}
    return FrameIndex(**columns, time_base=Fraction(numerator, denominator))

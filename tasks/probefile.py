"""A probe as two small files, so that a job scans each source once: MediaInfo as JSON, the frame index as numpy arrays."""

from __future__ import annotations

import io
from fractions import Fraction

import numpy as np
from pydantic import TypeAdapter

from tasks.messages import FrameIndex, MediaInfo, Probe

_INFO = TypeAdapter(MediaInfo)
_COLUMNS = ("pts", "duration", "keyframe", "packet", "packet_bytes")


def save_probe(probe: Probe) -> tuple[bytes, bytes]:
    """(JSON of the description, npz of the index); equal probes give equal bytes."""
    index = probe.index
    columns = {name: getattr(index, name) for name in _COLUMNS}
    buffer = io.BytesIO()
    np.savez(buffer, time_base=np.array([index.time_base.numerator, index.time_base.denominator], dtype=np.int64), **columns)
    return _INFO.dump_json(probe.info, indent=1), buffer.getvalue()


def load_probe(json_bytes: bytes, npz_bytes: bytes) -> Probe:
    """The exact inverse of ``save_probe``; raises ValueError or KeyError on bytes that are not a saved probe."""
    with np.load(io.BytesIO(npz_bytes), allow_pickle=False) as stored:
        columns = {name: stored[name] for name in _COLUMNS}
        numerator, denominator = (int(v) for v in stored["time_base"])
    return Probe(_INFO.validate_json(json_bytes), FrameIndex(**columns, time_base=Fraction(numerator, denominator)))

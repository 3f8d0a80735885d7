"""Interlaced and telecined pictures: what is known of a source's fields, and what is done about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Scan = Literal["unknown", "progressive", "interlaced", "telecined"]
FieldFilter = Literal["", "bwdif", "detelecine"]


@dataclass(frozen=True, slots=True)
class Fields:
    """``scan``: as found by flags and by comb measure. ``filter``: what every frame of the job has gone through."""

    scan: Scan = "unknown"
    top_field_first: bool = True
    filter: FieldFilter = ""


#: Nothing found, nothing done.
PLAIN = Fields()

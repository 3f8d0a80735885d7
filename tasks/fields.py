"""Interlaced and telecined pictures: what is known of a source's fields, and what is done about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Scan = Literal["unknown", "progressive", "interlaced", "telecined"]
FieldFilter = Literal["", "bwdif", "detelecine"]


@dataclass(frozen=True, slots=True)
class Fields:
    """``scan``: as the pictures show it. ``filter``: what every frame of the job has gone through.

    ``moving_samples`` of the film's samples move enough to tell, ``combed_samples`` of these comb.
    """

    scan: Scan = "unknown"
    top_field_first: bool = True
    filter: FieldFilter = ""
    combed_samples: int = 0
    moving_samples: int = 0

    @property
    def order(self) -> str:
        """Which field comes first, in words."""
        return f"{'top' if self.top_field_first else 'bottom'} field first"

    @property
    def fingerprint(self) -> str:
        """All of it that changes pictures or their number; "" without a filter."""
        return f" {self.filter}, {self.order}" if self.filter else ""


#: Nothing found, nothing done.
PLAIN = Fields()

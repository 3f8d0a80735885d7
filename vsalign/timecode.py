"""Times as people write them."""

from __future__ import annotations


def timecode(seconds: float) -> str:
    """hh:mm:ss.mmm, with a minus sign before times below zero."""
    whole, ms = divmod(abs(round(seconds * 1000)), 1000)
    sign = "-" if round(seconds * 1000) < 0 else ""
    return f"{sign}{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}.{ms:03d}"

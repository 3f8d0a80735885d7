"""How a running unit tells how far it is."""

from __future__ import annotations

from collections.abc import Callable

#: Called once per finished frame, from whatever thread finishes it.
OnFrame = Callable[[], None]

"""NVENC's refusals in our words: one that only has too much to do, or one that is not there. No FFmpeg here."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from tasks.codectable import CODECS
from tasks.errors import EncoderBusy, EncoderMissing, TaskError

#: Encoder sessions that a GPU has open at once are limited (by the driver on consumer cards, by memory on others). NVENC
#: reports a session too many as if memory were short, older drivers as a client key that does not fit.
_BUSY = ("openencodesessionex failed: out of memory", "openencodesessionex failed: incompatible client key", "encoder busy")
#: No driver, no GPU, a GPU without an encoder (as those made for computing), or without this codec.
_MISSING = (
    *("cannot load", "no capable devices", "no nvenc capable devices", "cuinit", "no cuda-capable device", "no encode device"),
    *("does not support the required nvenc api", "minimum required nvidia driver", "unsupported device", "codec not supported"),
    *("could not dynamically load cuda", "failed to create nvenc instance", "failed to query nvenc max version"),
)
#: Waits between tries, in seconds: a neighbour's session ends with its chunk.
WAITS_S = (5.0, 10.0, 15.0, 30.0)


def is_hardware(codec: str) -> bool:
    """The encoder runs on a GPU and has a stand-in."""
    return codec in CODECS and bool(CODECS[codec].software)


def refusal(codec: str, log: Sequence[str], otherwise: str) -> TaskError | None:
    """What it means that encoder ``codec`` could not be opened while FFmpeg wrote the lines ``log``; None when that has nothing
    to do with the machine (a setting that it does not take)."""
    if not is_hardware(codec):
        return None
    lines = [" ".join(line.split()) for line in (*log, otherwise)]
    for signs, error in ((_BUSY, EncoderBusy), (_MISSING, EncoderMissing)):
        for line in lines:
            if any(sign in line.lower() for sign in signs):
                return error(codec, line)
    return None


def when_free[T](make: Callable[[], T], waits: Sequence[float] = WAITS_S, sleep: Callable[[float], None] = time.sleep) -> T:
    """What ``make`` makes, asked again after each of ``waits`` while the encoder is busy. Raises EncoderBusy in the end."""
    for seconds in waits:
        try:
            return make()
        except EncoderBusy:
            sleep(seconds)
    return make()

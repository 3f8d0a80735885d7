"""How much memory an attempt took, and which errors mean that there was not enough."""

from __future__ import annotations

import errno
import resource
import sys
from contextlib import suppress
from pathlib import Path
from typing import Literal

from tasks.errors import EncoderBusy
from tasks.refusal import causes_of

Facts = dict[str, float | int | str]

#: What allocators that raise no MemoryError write, in torch and OpenCV.
_HOST_WORDS = ("can't allocate memory", "not enough memory", "Insufficient memory", "Failed to allocate")
_CUDA_WORDS = ("CUDA out of memory", "CUDA error: out of memory", "STATUS_ALLOC_FAILED")


def shortage_of(error: BaseException) -> Literal["host", "cuda"] | None:
    """Whose memory did not suffice when ``error`` was raised; None for any other error."""
    for cause in causes_of(error):
        if isinstance(cause, EncoderBusy):
            return None  # it came of an error that speaks of memory: too many sessions
        text = str(cause)
        if type(cause).__name__ == "OutOfMemoryError" or any(word in text for word in _CUDA_WORDS):
            return "cuda"
        if isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno == errno.ENOMEM):
            return "host"
        if any(word in text for word in _HOST_WORDS):
            return "host"
    return None


def begin_peak() -> None:
    """Let this process's high-water marks begin anew; where the kernel does not let us, they are since its start."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()


def peak_facts() -> Facts:
    """The most memory that this process held since ``begin_peak``, other attempts' remains included: host and, if used, GPU."""
    facts: Facts = {"peak_rss_bytes": _peak_rss_bytes()}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        facts["peak_cuda_bytes"] = torch.cuda.max_memory_allocated()
    return facts


def _peak_rss_bytes() -> int:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

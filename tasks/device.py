"""Which device a worker computes on."""

from __future__ import annotations


def resolve_device(wanted: str) -> str:
    """ "cpu" or "cuda" for "auto", "cpu" or "cuda"; auto takes the GPU that the worker sees, if any.

    Raises RuntimeError when "cuda" is wanted and torch finds none.
    """
    if wanted == "cpu":
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if wanted == "cuda":
        raise RuntimeError("torch finds no CUDA GPU here")
    return "cpu"

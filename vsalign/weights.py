"""Published network weights as tensors: checked by hash, loaded once. Where the files lie: :mod:`vsalign.published`."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from vsalign.errors import InputError
from vsalign.published import RIFE_4_14, TOPIQ_FR, PublishedWeights, check_hash, find_weights

__all__ = [
    "RIFE_4_14",
    "TOPIQ_FR",
    "PublishedWeights",
    "find_weights",
    "forget_networks",
    "load_tensors",
    "shared_network",
    "take",
]

_networks: dict[tuple[PublishedWeights, Path, str], nn.Module] = {}
_loading = threading.Lock()


def load_tensors(published: PublishedWeights, path: Path) -> dict[str, Tensor]:
    """All tensors of the file by name, on the CPU. Raises InputError when the file can't be read or isn't the published one."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"weights file {path}: {error.strerror}") from error
    # Hashed and loaded from the same bytes: the file may change in between.
    check_hash(published, path, hashlib.sha256(content).hexdigest())
    loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    # Some training code keeps the network's tensors under this name, beside others.
    tensors: dict[str, Tensor] = loaded.get("params", loaded)
    return tensors


def take(tensors: Mapping[str, Tensor], name: str, shape: tuple[int, ...]) -> Tensor:
    """The tensor ``name`` as float32. Raises InputError when it is missing or has another shape."""
    tensor = tensors.get(name)
    if tensor is None or tuple(tensor.shape) != shape:
        seen = "missing" if tensor is None else f"of shape {tuple(tensor.shape)}"
        raise InputError(f"weights: tensor {name} is {seen}; expected shape {shape}")
    return tensor.float()


def shared_network[Network: nn.Module](
    published: PublishedWeights, given: str, device: torch.device, build: Callable[[Mapping[str, Tensor]], Network]
) -> Network:
    """The network that ``build`` makes of the weights, on ``device`` and ready to run; loaded once per file and device.

    It must not be changed by the caller. Raises InputError as :func:`find_weights` and :func:`load_tensors` do.
    """
    path = find_weights(published, given)
    key = (published, path, str(device))
    with _loading:
        if key not in _networks:
            _networks[key] = build(load_tensors(published, path)).eval().requires_grad_(False).to(device)
        network = _networks[key]
    return network  # type: ignore[return-value]


def forget_networks() -> None:
    """Free the memory of all loaded networks; the next call loads them again."""
    with _loading:
        _networks.clear()
    torch.cuda.empty_cache()

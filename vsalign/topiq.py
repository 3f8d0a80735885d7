"""TOPIQ as a measure of how unlike two pictures are: the network of :mod:`vsalign.cfanet` with its published weights.

Its scores, about 0 to 1, fall with what a viewer would call damage; a cost is 1 - score. It is not symmetric, and not held
exactly within [0, 1].
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vsalign.cfanet import LEVEL_CHANNELS, build_cfanet
from vsalign.picture import Picture
from vsalign.rgb import to_rgb
from vsalign.weights import TOPIQ_FR, shared_network

#: Memory that the heads of one batch may take for their finest level.
_BATCH_BYTES = 1 << 30
#: Tensors of the finest level that live at once for a pair: both sides, their difference, and two inside the gate.
_AT_ONCE = 5
_LARGEST_HALF = 65504.0

_precision = threading.Lock()


@dataclass(frozen=True, slots=True, eq=False)
class TopiqFeatures:
    """What TOPIQ keeps of one picture: five levels (1,C,h,w), fine to coarse, float32 or float16.

    A 1920x1080 picture takes 382 MB as float32 (``num_bytes``); ``height`` and ``width`` are the picture's, in pixels.
    """

    levels: tuple[Tensor, ...]
    height: int
    width: int

    @property
    def num_bytes(self) -> int:
        return sum(level.numel() * level.element_size() for level in self.levels)

    def __repr__(self) -> str:
        return f"TopiqFeatures({self.width}x{self.height}, {self.levels[0].dtype}, {self.levels[0].device})"


class Topiq:
    """A :class:`vsalign.metric.Metric`: features once per picture, costs per pair.

    ``weights``: path of the published file, or "" for the one that is found (:func:`vsalign.published.find_weights`).
    ``device``: where everything runs. ``batch_size``: pairs whose heads run at once, which bounds memory and changes costs by
    rounding only (below 1e-5); None is one on a CPU, where more gain nothing, and what about 1 GB holds elsewhere.
    ``half_storage`` keeps features as float16, in half of the memory; all arithmetic is float32 all the same. Raises
    InputError when the weights can't be had or are others, ValueError for a batch size below 1. May be used from several
    threads.
    """

    def __init__(
        self,
        weights: str = "",
        device: torch.device | str = "cpu",
        *,
        batch_size: int | None = None,
        half_storage: bool = False,
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}, accepted is None or at least 1")
        self._device = torch.device(device)
        self._batch_size, self._half_storage = batch_size, half_storage
        self._network = shared_network(TOPIQ_FR, weights, self._device, build_cfanet)

    @torch.inference_mode()
    def features(self, picture: Picture) -> TopiqFeatures:
        """What :meth:`costs` needs of ``picture``, on the device. Any size and format; see :func:`vsalign.rgb.to_rgb`."""
        with _full_precision(self._device):
            levels = self._network.levels(to_rgb(picture, self._device))
        if self._half_storage:
            levels = [level.clamp(max=_LARGEST_HALF).half() for level in levels]
        return TopiqFeatures(tuple(levels), picture.height, picture.width)

    @torch.inference_mode()
    def costs(self, pairs: Sequence[tuple[TopiqFeatures, TopiqFeatures]]) -> npt.NDArray[np.float32]:
        """1 - score of each pair (ref features, clip features): (len(pairs),), how bad a copy of the ref the clip is.

        Raises ValueError when the pictures differ in size.
        """
        if not pairs:
            return np.zeros(0, np.float32)
        sizes = sorted({(side.width, side.height) for pair in pairs for side in pair})
        if len(sizes) > 1:
            seen = ", ".join(f"{width}x{height}" for width, height in sizes)
            raise ValueError(f"pictures of sizes {seen}; TOPIQ compares pictures of one size")
        step = self._batch_size or self._affordable(pairs[0][0])
        with _full_precision(self._device):
            scores = [self._scores(pairs[start : start + step]) for start in range(0, len(pairs), step)]
            result: npt.NDArray[np.float32] = (1 - torch.cat(scores)).cpu().numpy()
        return result

    def _scores(self, pairs: Sequence[tuple[TopiqFeatures, TopiqFeatures]]) -> Tensor:
        scores: Tensor = self._network([clip.levels for _, clip in pairs], [ref.levels for ref, _ in pairs])
        return scores

    def _affordable(self, features: TopiqFeatures) -> int:
        if self._device.type == "cpu":
            return 1
        finest = features.levels[0]
        bytes_per_pair = _AT_ONCE * LEVEL_CHANNELS[0] * finest.shape[-2] * finest.shape[-1] * 4
        return max(1, _BATCH_BYTES // bytes_per_pair)


@contextmanager
def _full_precision(device: torch.device) -> Iterator[None]:
    """Convolutions in whole float32 on a GPU. By default they round to 10 bits there, and neighbouring frames differ by less.

    The setting belongs to the process, so only one thread at a time may change it and put it back.
    """
    if device.type != "cuda":
        yield
        return
    with _precision:
        before = torch.backends.cudnn.allow_tf32
        torch.backends.cudnn.allow_tf32 = False
        try:
            yield
        finally:
            torch.backends.cudnn.allow_tf32 = before

"""Seeded random weights for TOPIQ's network, scaled so that every part of it shows in the score."""

from __future__ import annotations

import torch
from torch import Tensor

from vsalign.cfanet import Cfanet, published_name


def random_weights(seed: int = 0) -> dict[str, Tensor]:
    """A tensor for every name of the published file that the network reads."""
    generator = torch.Generator().manual_seed(seed)

    def draw(name: str, shape: tuple[int, ...]) -> Tensor:
        if name.endswith("running_var") or (len(shape) == 1 and name.endswith("weight")):
            # Gains and variances; those that end a residual block are small, or 16 blocks would blow the features up.
            gain = torch.rand(shape, generator=generator)
            return gain * 0.3 if "bn3.weight" in name else gain * 0.6 + 0.2
        noise = torch.randn(shape, generator=generator)
        if len(shape) == 1:
            return 0.2 * noise
        if name in ("h_emb", "w_emb"):
            return noise
        gain = 2.0 if name.startswith(("weight_pool", "semantic_model")) else 1.2
        return noise * gain / noise[0].numel() ** 0.5

    shapes = {name: tuple(tensor.shape) for name, tensor in Cfanet().state_dict().items()}
    names = sorted(published_name(own) for own in shapes if not own.endswith("num_batches_tracked"))
    by_name = {published_name(own): shape for own, shape in shapes.items()}
    return {name: draw(name, by_name[name]) for name in names}

"""The network of TOPIQ in its full-reference form: how good one picture is as a copy of another.

Chen et al., "TOPIQ: A Top-down Approach from Semantics to Distortions for Image Quality Assessment" (arXiv 2308.03060). A
ResNet-50 gives features of five resolutions for each picture alone. Everything after that belongs to the pair: at each level a
gate made from the difference says which places count, the gated features are averaged down to the grid of the coarsest level
and become tokens; then the coarse levels ask the finer ones, by attention, what the damage there means.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsalign.weights import take

#: Channels of the backbone's levels: the stem after its activation (1/2 of the picture's size), then 1/4, 1/8, 1/16, 1/32.
LEVEL_CHANNELS = (64, 256, 512, 1024, 2048)
_WIDTH, _HEADS, _INNER, _GATE = 256, 4, 1024, 64
#: Side of the learned map of positions, which is stretched over the grid of tokens.
_POSITIONS = 32
#: Keeps the root of the squared difference smooth at 0. The published weights were trained with it.
_EPSILON = 1e-12
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: Our names of parameters -> those in the published file.
_PUBLISHED_NAMES = (
    (r"^backbone\.", "semantic_model."),
    (r"^gates\.", "weight_pool."),
    (r"^reduce\.(\d)\.", r"dim_reduce.\1.0."),
    (r"^within\.(\d)\.attention\.", r"sa_attn_blks.\1.layers.0.self_attn."),
    (r"^within\.(\d)\.", r"sa_attn_blks.\1.layers.0."),
    (r"^across\.(\d)\.attention\.", r"attn_blks.\1.layers.0.multihead_attn."),
    (r"^across\.(\d)\.", r"attn_blks.\1.layers.0."),
    (r"^last\.attention\.", "attn_pool.self_attn."),
    (r"^last\.", "attn_pool."),
    (r"^score\.", "score_linear."),
    (r"^rows$", "h_emb"),
    (r"^columns$", "w_emb"),
)


class _FeedForward(nn.Module):
    """The second half of a transformer layer, after ``norm``; added to what came in."""

    linear1: nn.Linear
    linear2: nn.Linear

    def _feed(self, tokens: Tensor, norm: nn.Module) -> Tensor:
        fed: Tensor = self.linear2(F.gelu(self.linear1(norm(tokens))))
        return tokens + fed


class SelfLayer(_FeedForward):
    """Tokens (B,T,256) that look at each other -> (B,T,256); normalised before each half."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(_WIDTH, _HEADS, batch_first=True)
        self.linear1, self.linear2 = nn.Linear(_WIDTH, _INNER), nn.Linear(_INNER, _WIDTH)
        self.norm1, self.norm2 = nn.LayerNorm(_WIDTH), nn.LayerNorm(_WIDTH)

    def forward(self, tokens: Tensor) -> Tensor:
        own = self.norm1(tokens)
        tokens = tokens + self.attention(own, own, own, need_weights=False)[0]
        return self._feed(tokens, self.norm2)


class CrossLayer(_FeedForward):
    """Tokens (B,T,256) that look at those of another level (B,S,256) -> (B,T,256)."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(_WIDTH, _HEADS, batch_first=True)
        self.linear1, self.linear2 = nn.Linear(_WIDTH, _INNER), nn.Linear(_INNER, _WIDTH)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(_WIDTH) for _ in range(3))

    def forward(self, tokens: Tensor, others: Tensor) -> Tensor:
        seen = self.norm2(others)
        tokens = tokens + self.attention(self.norm1(tokens), seen, seen, need_weights=False)[0]
        return self._feed(tokens, self.norm3)


class Cfanet(nn.Module):
    """Backbone and head; ``levels`` runs once per picture, ``forward`` once per pair."""

    rows: Tensor
    columns: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.backbone = timm.create_model("resnet50", pretrained=False, features_only=True)
        self.gates = nn.ModuleList(_gate(channels) for channels in LEVEL_CHANNELS)
        self.reduce = nn.ModuleList(nn.Conv2d(3 * channels, _WIDTH, 1) for channels in LEVEL_CHANNELS)
        self.within = nn.ModuleList(SelfLayer() for _ in LEVEL_CHANNELS)
        self.across = nn.ModuleList(CrossLayer() for _ in LEVEL_CHANNELS[1:])
        self.last = SelfLayer()
        middle = (nn.LayerNorm(_WIDTH), nn.Linear(_WIDTH, _WIDTH), nn.GELU())
        again = (nn.LayerNorm(_WIDTH), nn.Linear(_WIDTH, _WIDTH), nn.GELU())
        self.score = nn.Sequential(*middle, *again, nn.Linear(_WIDTH, 1))
        self.rows = nn.Parameter(torch.zeros(1, _WIDTH // 2, _POSITIONS, 1))
        self.columns = nn.Parameter(torch.zeros(1, _WIDTH // 2, 1, _POSITIONS))

    def levels(self, picture: Tensor) -> list[Tensor]:
        """Features (B,C,h,w) of the five levels, fine to coarse, of RGB ``picture`` (B,3,H,W) in [0,1], any size."""
        mean, deviation = (picture.new_tensor(values).view(1, 3, 1, 1) for values in (_MEAN, _DEVIATION))
        features: list[Tensor] = self.backbone((picture - mean) / deviation)
        return features

    def forward(self, copies: Sequence[Sequence[Tensor]], originals: Sequence[Sequence[Tensor]]) -> Tensor:
        """Scores (B,), higher is better: how good a copy of ``originals[i]`` each of ``copies[i]`` is; both B times five
        levels (1,C,h,w), all of the same picture size. Whatever they are kept as, float32 from here on: squared, small or large
        differences would leave the range of float16."""
        grid = (copies[0][-1].shape[-2], copies[0][-1].shape[-1])
        place = self._positions(grid)
        tokens: list[Tensor] = []
        for level in range(len(LEVEL_CHANNELS)):
            copy, original = (torch.cat([picture[level].float() for picture in side]) for side in (copies, originals))
            reduced = F.gelu(self.reduce[level](self._pool(level, copy, original, grid))) + place
            tokens.append(self.within[level](reduced.flatten(2).transpose(1, 2)))
        known = tokens[-1]
        for layer, finer in zip(self.across, reversed(tokens[:-1]), strict=True):
            known = layer(known, finer)
        scores: Tensor = self.score(self.last(known).mean(1))[:, 0]
        return scores

    def _pool(self, level: int, copy: Tensor, original: Tensor, grid: tuple[int, int]) -> Tensor:
        """Features of pairs (B,C,h,w) and their difference at one level, gated, averaged to ``grid``: (B,3C,*grid)."""
        difference = (copy - original).square_().add_(_EPSILON).sqrt_()
        gate = self.gates[level](difference).sigmoid_()
        parts = [part * gate for part in (copy, original, difference)]
        if copy.shape[-2:] != grid:
            parts = [F.adaptive_avg_pool2d(part, grid) for part in parts]
        return torch.cat(parts, 1)

    def _positions(self, grid: tuple[int, int]) -> Tensor:
        """The learned positions (1,256,*grid)."""
        side = (-1, -1, _POSITIONS, _POSITIONS)
        learned = torch.cat([self.rows.expand(*side), self.columns.expand(*side)], 1)
        return F.interpolate(learned, size=grid, mode="bicubic", align_corners=False)


def _gate(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, _GATE, 1),
        nn.GELU(),
        nn.Conv2d(_GATE, _GATE, 3, padding=1),
        nn.GELU(),
        nn.Conv2d(_GATE, 1, 3, padding=1),
    )


def build_cfanet(tensors: Mapping[str, Tensor]) -> Cfanet:
    """The network with published weights. Raises InputError when a tensor that it needs is missing or has another shape."""
    network = Cfanet()
    # Batches are counted in training only.
    own = {name: tensor for name, tensor in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    wanted = {name: take(tensors, published_name(name), tuple(tensor.shape)) for name, tensor in own.items()}
    network.load_state_dict(wanted, strict=False)
    return network


def published_name(name: str) -> str:
    """What the published file calls the parameter ``name`` of :class:`Cfanet`."""
    for pattern, published in _PUBLISHED_NAMES:
        name, found = re.subn(pattern, published, name)
        if found:
            break
    return name

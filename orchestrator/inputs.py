"""What a job is made of, once everything that can be known before rendering has been looked at."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.streamchoice import NO_STREAMS, Choice
from tasks.messages import MetricSettings, Probe, VideoFormat


@dataclass(frozen=True, slots=True)
class Inputs:
    """Probed sources and the format of the output; ``notices`` are lines the user should read.

    ``weights`` and ``weights_sha256``: the network's file (path "" where every worker finds it in its own package) and its
    hash; "" for an engine without. ``mask_sha256`` is of the whole file: a mask may be painted over in place. ``metric``: what
    compares pictures where the signatures alone do not decide. ``choice``: the streams that go into the output;
    ``clip_sound_fits``: those of the clip's sound as they are.
    """

    clip: Probe
    ref: Probe
    fallback: Probe | None
    video: VideoFormat
    pixel_format: str
    notices: tuple[str, ...] = ()
    mask: Probe | None = None
    mask_sha256: str = ""
    weights: str = ""
    weights_sha256: str = ""
    metric: MetricSettings | None = None
    choice: Choice = NO_STREAMS
    clip_sound_fits: bool = True

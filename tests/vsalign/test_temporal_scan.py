"""How much of the films ``vsalign.temporal`` asks for at once when it reads them from end to end."""

from types import SimpleNamespace
from typing import Any

import pytest
import vapoursynth as vs

import vsalign
from tests.vsalign.vsnodes import core
from vsalign import temporalfilter, vsscan


@pytest.mark.parametrize(
    ("format", "width", "height", "block_frames"),
    [
        (vs.GRAY8, 64, 48, 64),
        (vs.YUV420P8, 1920, 1080, 21),  # 64 MiB of 3 MB each
        (vs.YUV444P16, 1920, 1080, 5),
        (vs.RGBS, 3840, 2160, 4),
    ],
)
@pytest.mark.parametrize("way", [{"precision": 4}, {"select": "path"}], ids=str)
def test_the_larger_the_frames_the_fewer_are_asked_for_at_once(
    monkeypatch: pytest.MonkeyPatch, format: int, width: int, height: int, block_frames: int, way: dict[str, Any]
) -> None:
    gates: list[vsscan.Gate] = []

    class Watched(vsscan.Gate):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            gates.append(self)

    monkeypatch.setattr(temporalfilter, "Gate", Watched)
    film = core.std.BlankClip(format=format, width=width, height=height, length=200, keep=True)
    vsalign.temporal(film, film, **way)
    asked: list[Any] = []
    (gate,) = gates
    blank = SimpleNamespace(ModifyFrame=lambda inputs, selector: asked.extend(inputs[1:]))
    monkeypatch.setattr(gate, "_blank", SimpleNamespace(std=blank))
    gate._block(0, 0, 0, None)
    assert len(asked) == block_frames

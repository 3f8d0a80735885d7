"""Steps and runs of woven pictures."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from tests.fieldfilms import Frames, moving, pulled_down, woven
from vsalign.combing import FilmVerdict, RunVerdict, Step, judge_film, judge_run, look_at_step


@pytest.fixture(scope="module")
def film() -> Frames:
    return moving(60)


def test_a_step_tells_where_the_frame_lies_between_both_mixtures(film: Frames) -> None:
    whole = look_at_step(film[3], film[4])
    assert whole is not None and whole.place > 0.8 and abs(whole.order) < 0.2
    top, bottom = (look_at_step(*woven(film[2:6], top_first)) for top_first in (True, False))
    assert top is not None and top.order > 0.8 and abs(top.place) < 0.3
    assert bottom is not None and bottom.order < -0.8
    assert look_at_step(film[3], film[3]) is None


def test_depth_does_not_matter(film: Frames) -> None:
    one, two = woven(film[2:6]).astype(np.uint16)
    assert look_at_step(one * 4, two * 4, 255.0 * 4) == look_at_step(one, two)
    faint = [128 + (frame.astype(np.int32) - 128) // 60 for frame in (one, two)]
    assert look_at_step(faint[0], faint[1]) is None
    assert look_at_step(faint[0] * 256, faint[1] * 256, 255.0 * 256) is None, "what is too faint stays so"


def test_runs_are_judged_by_their_pattern(film: Frames) -> None:
    def kind(frames: Frames) -> str:
        return judge_run([look_at_step(a, b) for a, b in pairwise(frames[:15])]).kind

    assert kind(film) == "progressive"
    assert kind(woven(film)) == "interlaced"
    assert {kind(pulled_down(film)[n:]) for n in range(5)} == {"telecined"}
    assert kind(np.repeat(film[:1], 15, axis=0)) == "still"


def test_a_film_is_what_its_moving_runs_are() -> None:
    still, whole, fields, pulled = (RunVerdict(kind, 0.5) for kind in ("still", "progressive", "interlaced", "telecined"))
    assert judge_film([]) == judge_film([still]) == FilmVerdict("still", 0.0, 0, 0)
    assert judge_film([still, whole, whole, whole, fields]).kind == "progressive"
    assert judge_film([still, fields]).kind == "progressive", "one of two is too few"
    assert judge_film([fields]).kind == "interlaced", "unless there is only one"
    assert judge_film([whole, fields, fields, pulled]) == FilmVerdict("interlaced", 1.5, 3, 4)
    assert judge_film([whole, fields, pulled]).kind == "telecined"


def test_fields_have_one_order_all_through_a_film() -> None:
    ahead, behind = RunVerdict("interlaced", 0.5), RunVerdict("interlaced", -0.4)
    assert judge_film([ahead, ahead, behind, behind]).kind == "progressive", "patterns that move, now this way and now that"
    assert judge_film([ahead, ahead, ahead, RunVerdict("interlaced", -0.1)]).kind == "interlaced"


def test_frames_that_comb_less_than_both_mixtures_are_of_one_moment() -> None:
    """As those of film with thin lines that scroll: one mixture is preferred, and the frames themselves are clean."""
    assert judge_run([Step(0.65, 0.35)] * 10).kind == "progressive"
    assert judge_run([Step(0.3, 0.7)] * 10).kind == "interlaced"

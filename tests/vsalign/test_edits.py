"""Edits read from frame maps whose answer is known: exact to the frame, and silent about noise."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vsalign.editkinds import Cadence, Edit, End, Extra, Missing, Moved, Nothing, Replaced, Speed, Start, Uneven
from vsalign.edits import find_edits
from vsalign.framemap import FrameMap, Source
from vsalign.frames import FrameRange

Ints = npt.NDArray[np.int64]
FILM = 24000 / 1001


def exact(clip_frame: Ints | list[int], num_clip: int) -> FrameMap:
    return FrameMap.of_clip_frames(np.asarray(clip_frame, np.int64), num_clip)


def edits_of(frame_map: FrameMap, num_clip: int, clip_rate: float = 24.0, ref_rate: float = 24.0) -> tuple[Edit, ...]:
    return find_edits(frame_map, np.arange(num_clip) / clip_rate, np.arange(len(frame_map)) / ref_rate)


def found(clip_frame: Ints | list[int], num_clip: int, clip_rate: float = 24.0, ref_rate: float = 24.0) -> list[str]:
    return [edit.words() for edit in edits_of(exact(clip_frame, num_clip), num_clip, clip_rate, ref_rate)]


@dataclass(frozen=True)
class Script:
    """A film of scenes with an edit between each two: (ref frames, clip frames) that have no counterpart."""

    scenes: tuple[int, ...]
    gaps: tuple[tuple[int, int], ...]

    def made(self) -> tuple[Ints, int, list[tuple[FrameRange, FrameRange]]]:
        """The map, the clip's length, and the edits' ranges."""
        rows: list[int] = []
        clip, ranges = 0, []
        for length, (ref_only, clip_only) in zip((0, *self.scenes), self.gaps, strict=True):
            rows += range(clip, clip + length)
            clip += length
            if ref_only or clip_only:
                ranges.append((FrameRange(len(rows), len(rows) + ref_only), FrameRange(clip, clip + clip_only)))
            rows += [-1] * ref_only
            clip += clip_only
        return np.array(rows, np.int64), clip, ranges


@st.composite
def scripts(draw: st.DrawFn) -> Script:
    scenes = draw(st.lists(st.integers(30, 200), min_size=1, max_size=6))
    gap = st.one_of(
        st.just((0, 0)),
        st.tuples(st.integers(3, 300), st.just(0)),
        st.tuples(st.just(0), st.integers(3, 300)),
        st.tuples(st.integers(3, 300), st.integers(3, 300)),
    )
    gaps = draw(st.lists(gap, min_size=len(scenes) + 1, max_size=len(scenes) + 1))
    return Script(tuple(scenes), tuple(gaps))


def noise(frame_map: FrameMap, num_clip: int, seed: int, spared: list[int]) -> FrameMap:
    """Slow pans and fades: stretches of little confidence that lie a frame off or have a hole, none within 60 rows of
    ``spared``; between them the confidence varies from shot to shot."""
    random = np.random.default_rng(seed)
    count = len(frame_map)
    clip_frame = frame_map.clip_frame.copy()
    sure = np.repeat(random.uniform(0.35, 0.95, count // 50 + 1), 50)[:count]
    for _ in range(count // 150):
        start, length = int(random.integers(0, count)), int(random.integers(1, 40))
        rows = np.arange(start, min(start + length, count))
        if any(abs(row - at) < 60 for at in (*spared, 0, count) for row in (rows[0], rows[-1])):
            continue
        shown = clip_frame[rows] >= 0
        if random.random() < 0.7:
            clip_frame[rows] = np.where(shown, np.clip(clip_frame[rows] + random.choice([-1, 1]), 0, num_clip - 1), -1)
            sure[rows] = random.uniform(0.02, 0.3)
        else:
            clip_frame[rows[0]] = -1
            sure[rows[0] - 8 : rows[0] + 9] = random.uniform(0.02, 0.1)
    source = np.where(clip_frame >= 0, Source.MATCH, Source.UNMATCHED).astype(np.uint8)
    return FrameMap(clip_frame, frame_map.cost, np.where(clip_frame >= 0, sure, 0.0).astype(np.float32), source)


def ranges_of(edits: tuple[Edit, ...]) -> list[tuple[FrameRange, FrameRange]]:
    return [(edit.ref_frames, edit.clip_frames) for edit in edits]


def rebuilt(edits: tuple[Edit, ...], num_ref: int) -> Ints:
    """The map that the edits describe, without having seen it."""
    out = np.full(num_ref, -1, np.int64)
    row, clip = 0, 0
    for edit in edits:
        out[row : edit.ref_frames.start] = np.arange(clip, clip + edit.ref_frames.start - row)
        row, clip = edit.ref_frames.stop, edit.clip_frames.stop
    out[row:] = np.arange(clip, clip + num_ref - row)
    return out


@settings(max_examples=80, deadline=None)
@given(scripts())
def test_edits_are_exact_to_the_frame_and_rebuild_the_map(script: Script):
    clip_frame, num_clip, ranges = script.made()
    edits = edits_of(exact(clip_frame, num_clip), num_clip)
    assert ranges_of(edits) == ranges
    assert np.array_equal(rebuilt(edits, len(clip_frame)), clip_frame)
    json.dumps([edit.to_json() for edit in edits])


@settings(max_examples=80, deadline=None, derandomize=True)
@given(scripts(), st.integers(0, 1000))
def test_noise_around_them_changes_no_edit(script: Script, seed: int):
    clip_frame, num_clip, ranges = script.made()
    spared = [frame for ref, _ in ranges for frame in (ref.start, ref.stop)]
    assert ranges_of(edits_of(noise(exact(clip_frame, num_clip), num_clip, seed, spared), num_clip)) == ranges


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(0, 10_000))
def test_a_clean_film_with_noise_has_no_edits(seed: int):
    assert not edits_of(noise(exact(np.arange(20_000), 20_000), 20_000, seed, []), 20_000)


def test_noise_is_not_taken_for_edits_by_chance_where_the_same_map_is_sure():
    """The guard of the two tests above: the same detours, were they certain, are edits."""
    noisy = noise(exact(np.arange(5000), 5000), 5000, 1, [])
    assert edits_of(replace(noisy, confidence=noisy.matched.astype(np.float32)), 5000)


def test_what_the_user_put_in_is_certain():
    clip_frame = np.arange(300)
    clip_frame[100:110] += 1
    weak = np.full(300, 0.9, np.float32)
    weak[100:110] = 0.1
    solved = replace(exact(clip_frame, 300), confidence=weak)
    assert not edits_of(solved, 300)
    source = solved.source.copy()
    source[100:110] = Source.EDITED
    assert len(edits_of(replace(solved, source=source), 300)) == 2


def test_a_fade_that_drifts_is_laid_onto_what_follows():
    drift = np.repeat([7, 6, 5, 4, 3, 2, 1], (13, 6, 2, 5, 11, 12, 200))
    weak = np.repeat(np.float32([0.01, 0.05, 0.04, 0.2, 0.13, 0.3, 0.54]), (13, 6, 2, 5, 11, 12, 200))
    clip_frame = np.arange(len(drift)) + drift
    words = [e.words() for e in edits_of(replace(exact(clip_frame, 250), confidence=weak), 250)]
    assert words == ["clip starts 0.04 s earlier (its first frame is not in ref)"]


N = np.arange(2400)


@pytest.mark.parametrize(
    ("clip_frame", "num_clip", "rates", "words"),
    [
        ((N * 25) // 24, 2500, (25.0, 24.0), "every 25th frame repeated from 00:00:00.000 to 00:01:40.000"),
        ((N * 25025) // 24000, 2503, (25.0, FILM), "1 frame in 24.4 repeated from 00:00:00.000 to 00:01:40.100"),
        (
            (N * 5) // 4,
            3000,
            (30 / 1.001, FILM),
            "telecine 3:2 (2:3 pull-down, every 5th frame repeated) from 00:00:00.000 to 00:01:40.100",
        ),
        (
            (N * 5) // 2,
            6000,
            (60 / 1.001, FILM),
            "telecine 3:2 (2:3 pull-down, frames shown twice and three times) from 00:00:00.000 to 00:01:40.100",
        ),
        ((N * 6) // 5, 2880, (30.0, 25.0), "every 6th frame repeated from 00:00:00.000 to 00:01:36.000"),
        (
            (N * 4) // 5,
            1920,
            (24.0, 30.0),
            "every 5th frame dropped (as when 3:2 pull-down is taken out) from 00:00:00.000 to 00:01:20.000",
        ),
        ((N * 24) // 25, 2304, (24.0, 25.0), "every 25th frame dropped from 00:00:00.000 to 00:01:36.000"),
        ((N * 2) // 5, 960, (24.0, 60.0), "2 clip frames for every 5 ref frames from 00:00:00.000 to 00:00:40.000"),
        (N * 2, 4800, (50.0, 25.0), "2 clip frames for every ref frame from 00:00:00.000 to 00:01:36.000"),
        (N // 2, 1200, (25.0, 50.0), "1 clip frame for every 2 ref frames from 00:00:00.000 to 00:00:48.000"),
    ],
)
@pytest.mark.parametrize("phase", [0, 3])
def test_a_cadence_is_one_line_whatever_its_phase(
    clip_frame: Ints, num_clip: int, rates: tuple[float, float], words: str, phase: int
):
    assert found(clip_frame, num_clip, *rates) == [words]
    late = clip_frame[phase:] - clip_frame[phase]
    assert [line.partition(" from ")[0] for line in found(late, int(late[-1]) + 1, *rates)] == [words.partition(" from ")[0]]


def test_a_cadence_that_begins_and_ends_is_bounded_by_its_first_and_last_beat():
    steps = np.ones(3000, np.int64)
    steps[[1000, *range(1024, 2001, 24)]] = 2
    steps[0] = 0
    clip_frame = np.cumsum(steps)
    edits = edits_of(exact(clip_frame, int(clip_frame[-1]) + 1), int(clip_frame[-1]) + 1)
    cadence = next(edit for edit in edits if isinstance(edit, Cadence))
    assert (cadence.ref_frames, cadence.period, cadence.change) == (FrameRange(1000, 1985), 24.0, 1)
    assert all(isinstance(edit, Cadence | Speed) for edit in edits)


def test_cuts_in_a_cadence_are_told_and_its_changed_phase_is_not():
    ref = np.concatenate([(N * 5) // 4, np.full(50, -1), 3002 + (N * 5 + 2) // 4])
    edits = edits_of(exact(ref, int(ref[-1]) + 1), int(ref[-1]) + 1, 30.0, 24.0)
    assert [type(edit) for edit in edits] == [Cadence, Missing]
    assert edits[1].ref_frames == FrameRange(2400, 2450)
    extra = np.concatenate([(N * 5) // 4, 3100 + (N * 5) // 4])
    edits = edits_of(exact(extra, int(extra[-1]) + 1), int(extra[-1]) + 1, 30.0, 24.0)
    assert [(type(edit), len(edit.clip_frames)) for edit in edits[1:]] == [(Extra, 100)]


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 10_000))
def test_noise_does_not_break_a_cadence(seed: int):
    telecine = (np.arange(7200) * 5) // 4
    edits = edits_of(noise(exact(telecine, 9000), 9000, seed, []), 9000, 30.0, 24.0)
    assert isinstance(edits[0], Cadence) and edits[0].ref_frames == FrameRange(0, 7200) and edits[0].pace == 1.25
    # A detour that begins or ends on a beat may leave a frame over; it must stay rare.
    assert sum(len(edit.ref_frames) + len(edit.clip_frames) for edit in edits[1:]) <= 8


@pytest.mark.parametrize("row", range(400, 408))
def test_a_hole_in_a_fade_is_no_edit_in_a_cadence_either(row: int):
    clip_frame = (N * 5) // 4
    clip_frame[row] = -1
    sure = np.full(len(N), 0.9, np.float32)
    sure[row - 8 : row + 9] = 0.05
    sure[row] = 0.0
    (edit,) = edits_of(replace(exact(clip_frame, 3000), confidence=sure), 3000, 30.0, 24.0)
    assert isinstance(edit, Cadence)


def test_many_holes_do_not_hide_the_beats_that_fall_into_them():
    clip_frame = (N * 5) // 4
    clip_frame[400:700:20] = -1
    sure = np.full(len(N), 0.6, np.float32)
    sure[380:720] = 0.12
    sure[400:700:20] = 0.0
    (edit,) = edits_of(replace(exact(clip_frame, 3000), confidence=sure), 3000, 30.0, 24.0)
    assert isinstance(edit, Cadence)


@pytest.mark.parametrize(
    ("ref_only", "clip_only", "kind"),
    [
        (12, 0, Missing),
        (0, 12, Extra),
        (12, 12, Replaced),
        (40, 6, Replaced),
        (6, 40, Replaced),
        (24, 1, Missing),
        (1, 24, Extra),
    ],
)
def test_one_scene_more_is_told_from_another_scene(ref_only: int, clip_only: int, kind: type[Edit]):
    clip_frame, num_clip, _ = Script((100, 100), ((0, 0), (ref_only, clip_only), (0, 0))).made()
    assert [type(edit) for edit in edits_of(exact(clip_frame, num_clip), num_clip)] == [kind]


def test_single_frames_without_a_beat_are_no_cadence_and_no_speed():
    random = np.random.default_rng(0)
    steps = np.ones(28_800, np.int64)
    dropped, repeated = np.split(random.choice(np.arange(1, 28_800), 58, replace=False), [37])
    steps[0], steps[dropped], steps[repeated] = 0, 0, 2
    clip_frame = np.cumsum(steps)
    edits = edits_of(exact(clip_frame, int(clip_frame[-1]) + 1), int(clip_frame[-1]) + 1)
    assert len(edits) == 1 and isinstance(edits[0], Uneven)
    first, last = min(*dropped, *repeated), max(*dropped, *repeated)
    assert edits[0].ref_frames.start == first and edits[0].ref_frames.stop in (last, last + 1)
    assert edits[0].words().startswith("37 single frames dropped, 21 repeated, between 00:00:")


def test_few_single_frames_are_listed():
    steps = np.ones(3000, np.int64)
    steps[0], steps[1000], steps[2000] = 0, 0, 2
    assert found(np.cumsum(steps), 3000) == [
        "1 frame missing from the clip at 00:00:41.667 (ref frames [1000, 1001))",
        "1 frame only in the clip at 00:01:23.333 (clip frames [1999, 2000))",
    ]


def test_a_frame_that_is_held_stands_for_as_many_missing_ones():
    clip_frame = np.concatenate([np.arange(100), np.full(12, 99), np.arange(100, 200)])
    (edit,) = edits_of(exact(clip_frame, 200), 200)
    assert isinstance(edit, Missing) and edit.ref_frames == FrameRange(100, 112) and len(edit.clip_frames) == 0


def test_frames_missing_from_a_slow_passage_are_one_edit_wherever_the_map_holds():
    """The clip lacks 12 frames of a slow pan; the map, not sure where, waits in two places, and is off by one elsewhere."""
    held = [*range(402, 407), *range(408, 415)]
    steps = np.ones(700, np.int64)
    steps[0], steps[held] = 0, 0
    steps[[200, 215]] = 2, 0
    sure = np.full(700, 0.9, np.float32)
    sure[400:415], sure[200:215] = 0.3, 0.6
    clip_frame = np.cumsum(steps)
    num_clip = int(clip_frame[-1]) + 1
    (edit,) = edits_of(replace(exact(clip_frame, num_clip), confidence=sure), num_clip)
    assert isinstance(edit, Missing) and edit.ref_frames == FrameRange(402, 414)


@pytest.mark.parametrize(
    ("clip_rate", "ref_rate", "words"),
    [
        (25.0, FILM, ["clip runs 4.27 % faster"]),
        (FILM, 25.0, ["clip runs 4.10 % slower"]),
        (FILM, 24.0, ["clip runs 0.10 % slower"]),
        (24.0, 24.0, []),
    ],
)
def test_speed_is_that_of_real_time(clip_rate: float, ref_rate: float, words: list[str]):
    assert found(N, 2400, clip_rate, ref_rate) == words


def test_speed_is_not_confused_by_cuts_and_changes_where_it_changes():
    cut = np.concatenate([N[:800], np.full(240, -1), N[800:2000]])
    assert found(cut, 2000, 25.0, FILM)[0] == "clip runs 4.27 % faster"
    seconds = np.concatenate([np.arange(1000) / 24.0, 1000 / 24.0 + np.arange(1000) / 25.0])
    frame_map = exact(np.concatenate([N[:1000], np.full(48, -1), N[1000:2000]]), 2000)
    edits = find_edits(frame_map, seconds, np.arange(2048) / 24.0)
    (speed,) = [edit for edit in edits if isinstance(edit, Speed)]
    assert speed.ref_frames == FrameRange(1048, 2048) and speed.words() == (
        "clip runs 4.17 % faster from 00:00:43.667 to 00:01:25.333"
    )


def test_times_that_vary_are_no_edit():
    """Both films have the same frames at the same uneven times, rounded to milliseconds in one of them."""
    seconds = np.cumsum(np.random.default_rng(2).choice([1 / 24, 1 / 30, 1 / 60], 2400))
    assert not find_edits(exact(N, 2400), np.round(seconds, 3), seconds)


def test_moved_scenes_are_found_and_are_neither_missing_nor_extra():
    later = np.concatenate([N[:500], N[1500:1800], N[500:1500], N[1800:]])
    (edit,) = edits_of(exact(later, 2400), 2400)
    assert isinstance(edit, Moved) and not edit.earlier
    assert (edit.ref_frames, edit.clip_frames) == (FrameRange(500, 800), FrameRange(1500, 1800))
    earlier = np.concatenate([N[:500], N[700:1500], N[500:700], N[1500:]])
    (edit,) = edits_of(exact(earlier, 2400), 2400)
    assert isinstance(edit, Moved) and edit.earlier and edit.clip_frames == FrameRange(500, 700)


def test_a_map_of_chance_finds_nothing():
    random = exact(np.random.default_rng(0).integers(0, 3000, 3000), 3000)
    (edit,) = edits_of(replace(random, confidence=random.confidence * np.float32(0.1)), 3000)
    assert isinstance(edit, Nothing)


@pytest.mark.parametrize(
    ("clip_frame", "num_clip", "edits"), [([], 0, 0), ([], 5, 0), ([0], 1, 0), ([-1], 0, 1), ([-1], 1, 1), ([0, 1], 2, 0)]
)
def test_the_smallest_films(clip_frame: list[int], num_clip: int, edits: int):
    assert len(found(clip_frame, num_clip)) == edits


def test_a_map_that_does_not_fit_the_films_is_refused():
    with pytest.raises(ValueError, match="10 rows does not go with 10 ref and 9 clip frames"):
        find_edits(exact(np.arange(10), 10), np.arange(9) / 24, np.arange(10) / 24)


def test_a_feature_takes_seconds():
    telecine = (np.arange(172_800) * 5) // 4
    noisy = noise(exact(telecine, 216_000), 216_000, 0, [])
    assert isinstance(edits_of(noisy, 216_000, 30.0, 24.0)[0], Cadence)


WHERE = (FrameRange(24, 48), FrameRange(0, 0), (1.0, 2.0), (0.0, 0.0))
CLIP = (FrameRange(24, 24), FrameRange(10, 34), (1.0, 1.0), (0.5, 1.5))
BOTH = (FrameRange(24, 48), FrameRange(10, 34), (1.0, 2.0), (3600.5, 3601.5))


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (
            Start(FrameRange(0, 49), FrameRange(0, 0), (0.0, 2.04), (0.0, 0.0)),
            "clip starts 2.04 s later (ref's first 49 frames are not in the clip)",
        ),
        (
            Start(FrameRange(0, 0), FrameRange(0, 1), (0.0, 0.0), (0.0, 0.04)),
            "clip starts 0.04 s earlier (its first frame is not in ref)",
        ),
        (
            End(FrameRange(9, 9), FrameRange(9, 12), (9.0, 9.0), (0.5, 3.0)),
            "clip ends 2.50 s later (its last 3 frames are not in ref)",
        ),
        (
            End(FrameRange(9, 12), FrameRange(9, 9), (0.5, 3.0), (9.0, 9.0)),
            "clip ends 2.50 s earlier (ref's last 3 frames are not in the clip)",
        ),
        (Missing(*WHERE), "24 frames missing from the clip at 00:00:01.000 (ref frames [24, 48))"),
        (
            replace(Missing(*WHERE), clip_frames=FrameRange(9, 10)),
            "24 frames missing from the clip at 00:00:01.000 (ref frames [24, 48); 1 frame in their place)",
        ),
        (Extra(*CLIP), "24 frames only in the clip at 00:00:01.000 (clip frames [10, 34))"),
        (
            Replaced(*BOTH),
            "24 ref frames from 00:00:01.000 to 00:00:02.000 replaced (clip shows something else there: its frames [10, 34))",
        ),
        (
            Moved(*BOTH, earlier=False),
            "00:00:01.000 to 00:00:02.000 of ref is found later in the clip at 01:00:00.500 "
            "(ref frames [24, 48), clip frames [10, 34))",
        ),
        (Speed(*BOTH, 1.25, False), "clip runs 25.00 % faster from 00:00:01.000 to 00:00:02.000"),
        (Uneven(*BOTH, 1, 0, 3, True), "1 single frame dropped, 3 replaced, between 00:00:01.000 and 00:00:02.000"),
        (Uneven(*BOTH, 0, 12, 0, False), "12 frames repeated, one or two at a time, between 00:00:01.000 and 00:00:02.000"),
        (Cadence(*BOTH, 1, 1, 2.0), "every 3rd frame repeated from 00:00:01.000 to 00:00:02.000"),
        (Cadence(*BOTH, 1, 1, 10.0), "every 11th frame repeated from 00:00:01.000 to 00:00:02.000"),
        (Nothing(*WHERE), "nothing matched: none of 24 ref frames has a counterpart in the clip"),
    ],
)
def test_the_words_of_every_kind(edit: Edit, words: str):
    assert edit.words() == words
    told = edit.to_json()
    assert told["kind"] == edit.kind and told["words"] == words
    assert told["ref_frames"] == [edit.ref_frames.start, edit.ref_frames.stop]

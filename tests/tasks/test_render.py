"""A chunk by hand: which pairs its warps come from, which masks go with them, and how many pictures are held."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

import tasks.render
from tasks.align import observe_pair
from tasks.gather import Pair, Run, pairs_of, runs_of
from tasks.localstore import LocalStore
from tasks.messages import AlignSettings, EncodeSettings, Role, VideoFormat
from tasks.probe import parse_source, probe
from tasks.reading import Readers
from tasks.render import render_chunk
from tasks.sources import write_probe
from tasks.thrift import LEVELS
from tasks.work import SAME_PICTURE, RenderWork
from tests.films import write_film
from tests.standin import toy_align  # noqa: F401
from vsalign.frames import FrameRange
from vsalign.picture import ColourTags, Picture, luma
from vsalign.warp import Warp

NUM_FRAMES, WIDTH, HEIGHT = 60, 96, 64


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    """A job's clip and ref, frame n of both of brightness 60 + 2 n, and a mask of three frames."""
    folder = tmp_path_factory.mktemp("job")
    frames = np.broadcast_to(np.arange(NUM_FRAMES)[:, None, None] * 2 + 60, (NUM_FRAMES, HEIGHT, WIDTH)).astype(np.uint8)
    masks = np.zeros((3, 16, 24), np.uint8)
    masks[1, :8], masks[2, :, 12:] = 255, 200
    store = LocalStore(folder / "job")
    roles: tuple[tuple[Role, np.ndarray], ...] = (("clip", frames), ("ref", frames), ("mask", masks))
    for role, samples in roles:
        path = write_film(folder / f"{role}.mkv", np.ascontiguousarray(samples), codec="ffv1", crf=None)
        write_probe(store, role, probe(parse_source(str(path))))
    return store


def work_of(rows: list[tuple[int, int]], pairs: list[tuple[int, int]] | None = None, **changes: object) -> RenderWork:
    """A chunk whose frames show ``rows``: (ref frame whose geometry counts, clip frame)."""
    return replace(
        RenderWork(
            name="render-00000",
            job_dir="",
            inputs={},
            num_frames=len(rows),
            ref_frames=FrameRange(0, len(rows)),
            aligned_to=tuple(ref for ref, _ in rows),
            clip_frames=tuple(clip for _, clip in rows),
            pairs=tuple(pairs if pairs is not None else [row for row in rows if row[1] >= 0]),
            film_geometry=SAME_PICTURE,
            align=AlignSettings(),
            encode=EncodeSettings(codec="ffv1"),
            video=VideoFormat(WIDTH, HEIGHT, Fraction(24), Fraction(1), ColourTags()),
            pixel_format="yuv420p",
        ),
        **changes,
    )


def brightness(picture: Picture | None) -> int:
    assert picture is not None
    return round((float(luma(picture).mean()) * 255 - 60) / 2)


def test_equal_neighbours_are_one_run():
    rows = [(2, 5), (2, 5), (3, 5), (4, -1), (5, -1), (6, 9)]
    assert runs_of(work_of(rows)) == [Run(2, True, 2), Run(3, True, 1), Run(4, False, 1), Run(5, False, 1), Run(6, True, 1)]


def test_a_pair_is_refs_frame_the_maps_clip_frame_and_the_masks_frame_the_last_of_which_goes_on(store: LocalStore):
    with Readers() as readers:
        pairs = list(pairs_of(work_of([], [(0, 7), (1, 3), (2, 3), (40, 41)], masked=True), store, readers))
    assert [(pair.ref_frame, brightness(pair.ref), brightness(pair.clip)) for pair in pairs] == [
        (0, 0, 7),
        (1, 1, 3),
        (2, 2, 3),
        (40, 40, 41),
    ]
    masks = [pair.mask for pair in pairs]
    assert [mask.shape for mask in masks if mask is not None] == [(1, 1, 16, 24)] * 4
    assert not masks[0].any() and masks[1][0, 0, :8].all() and not masks[1][0, 0, 8:].any()
    assert masks[2][..., 12:].all() and masks[3] is masks[2]


def test_a_still_picture_is_a_mask_for_the_whole_film(store: LocalStore, tmp_path: Path):
    still = np.zeros((10, 20), np.uint8)
    still[:, :5] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), still)
    own = LocalStore(tmp_path / "job")
    for role in ("clip", "ref"):
        for end in ("json", "npz"):
            own.replace(f"probe/{role}.{end}", store.read(f"probe/{role}.{end}") or b"")
    write_probe(own, "mask", probe(parse_source(str(tmp_path / "mask.png"))))
    with Readers() as readers:
        pairs = list(pairs_of(work_of([], [(0, 0), (50, 50)], masked=True), own, readers))
    assert all(pair.mask is not None and np.array_equal(pair.mask[0, 0].numpy(), still > 0) for pair in pairs)


def test_without_warp_neither_ref_nor_mask_is_read(store: LocalStore):
    settings = AlignSettings(warp=False)
    with Readers() as readers:
        pairs = list(pairs_of(work_of([(0, 4)], align=settings, masked=True), store, readers))
        assert len(readers._exit_callbacks) == 1
    assert pairs[0].ref is None and pairs[0].mask is None and brightness(pairs[0].clip) == 4


def windows_seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[int], int]]:
    """(ref frames of the window, own place) of every warp that is settled from now on."""
    seen: list[tuple[list[int], int]] = []

    def settled(window: list[int], at: int, *_: object) -> Warp | None:
        seen.append((window, at))
        return None

    monkeypatch.setattr(tasks.render, "observe_pair", lambda pair, *_: brightness(pair.ref))
    monkeypatch.setattr(tasks.render, "settled_warp", settled)
    monkeypatch.setattr(tasks.render, "without_detail", lambda observation: observation)
    return seen


def test_every_frame_is_settled_from_the_matched_frames_within_the_radius(store, tmp_path, monkeypatch):
    seen = windows_seen(monkeypatch)
    rows = [(10, 10), (11, 11), (11, 11), (14, 13), (15, -1), (16, 16)]
    pairs = [(8, 8), (9, 9), (10, 10), (11, 11), (12, 12), (14, 13), (16, 16), (17, 17)]
    settings = AlignSettings(smooth_time=2, unmatched="black")
    _, facts = render_chunk(work_of(rows, pairs, align=settings), store, tmp_path, lambda: None)
    assert seen == [([8, 9, 10, 11, 12], 2), ([9, 10, 11, 12], 2), ([12, 14, 16], 1), ([14, 16, 17], 1)]
    assert facts["aligned_frames"] == 5


def test_a_radius_of_zero_leaves_every_frame_alone(store, tmp_path, monkeypatch):
    seen = windows_seen(monkeypatch)
    render_chunk(work_of([(3, 3), (4, 4)], align=AlignSettings(smooth_time=0)), store, tmp_path, lambda: None)
    assert seen == [([3], 0), ([4], 0)]


class Counted(Picture):
    """A picture that knows how many of its kind are alive."""

    live = peak = 0

    def __post_init__(self) -> None:
        Counted.live += 1
        Counted.peak = max(Counted.peak, Counted.live)

    def __del__(self) -> None:
        Counted.live -= 1


def counted_pairs(*arguments: object) -> Iterator[Pair]:
    for pair in pairs_of(*arguments):  # type: ignore[arg-type]
        clip, ref = (Counted(p.planes, p.format, p.colour) for p in (pair.clip, pair.ref) if p is not None)
        made = Pair(pair.ref_frame, clip, ref, pair.mask)
        del clip, ref
        yield made
        del made


@pytest.mark.parametrize(("show", "kept_per_frame"), [("keep", 1), ("ref", 2)])
@pytest.mark.parametrize("radius", [0, 6])
@pytest.mark.usefixtures("toy_align")
def test_pictures_are_let_go_once_their_frame_is_made(store, tmp_path, monkeypatch, show, kept_per_frame, radius):
    monkeypatch.setattr(tasks.render, "pairs_of", counted_pairs)
    Counted.live = Counted.peak = 0
    rows = [(n, n) for n in range(NUM_FRAMES)]
    settings = AlignSettings(smooth_time=radius, mismatch=show)  # type: ignore[arg-type]
    # A slow encoder, so that all queues are full.
    render_chunk(work_of(rows, align=settings), store, tmp_path, lambda: time.sleep(0.01))
    waiting_pairs = LEVELS[0].queue_frames + 3
    waiting_seen = LEVELS[0].queue_frames + 2
    assert Counted.live == 0
    assert Counted.peak <= 2 * waiting_pairs + kept_per_frame * (waiting_seen + radius + 1)


@pytest.mark.usefixtures("toy_align")
def test_pictures_of_neighbouring_chunks_pairs_are_not_kept(store, tmp_path, monkeypatch):
    kept = []
    real = tasks.render.Seen

    def seen(observation, clip, ref):
        kept.append((clip is not None, ref is not None))
        return real(observation, clip, ref)

    monkeypatch.setattr(tasks.render, "Seen", seen)
    work = work_of([(10, 10)], [(9, 9), (10, 10), (11, 11)], align=AlignSettings(smooth_time=1))
    render_chunk(work, store, tmp_path, lambda: None)
    assert kept == [(False, False), (True, False), (False, False)]


def test_a_mask_reaches_the_observation(store: LocalStore, monkeypatch: pytest.MonkeyPatch):
    masks = []
    monkeypatch.setattr("tasks.align.observe", lambda clip, ref, settings, mask: masks.append(mask))
    with Readers() as readers:
        for pair in pairs_of(work_of([], [(1, 1)], masked=True), store, readers):
            observe_pair(pair, AlignSettings())
    assert masks[0] is not None and masks[0].mean() == 0.5

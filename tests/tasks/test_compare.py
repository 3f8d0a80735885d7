"""Chunks compared one by one and chosen of at the end give what the film in one piece does; and pictures fit to be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from tasks.comparable import Comparable, shared_box
from tasks.costrows import StoredRows, save_rows
from tasks.decode import FrameReader
from tasks.errors import TaskError
from tasks.localstore import LocalStore
from tasks.messages import MetricSettings, Probe, Role
from tasks.metrics import find_metric, open_metric
from tasks.probe import parse_source, probe
from tasks.run import perform
from tasks.sources import read_probe, write_probe
from tasks.work import SAME_PICTURE, Attempt, ChooseWork, CompareWork
from tests.films import film, write_film
from tests.vsalign.randomnet import random_weights
from vsalign import topiq
from vsalign.cfanet import build_cfanet
from vsalign.framemap import FrameMap
from vsalign.frames import FrameRange
from vsalign.metricband import rematch
from vsalign.picture import Picture
from vsalign.planestats import PlaneStats

NUM_REF, FIRST, TR = 70, 6, 7
#: The clip's picture is the ref's inner part: a margin of 12 and 8 pixels is cut away on each side of 96 x 64.
CROPPED = (96 / 72, 0.0, 0.0, 0.0, 64 / 48, 0.0)
PLANESTATS = MetricSettings(1, "PlaneStats", "1")


def cropped(frames: np.ndarray) -> np.ndarray:
    return np.stack([cv2.resize(f[8:56, 12:84], (144, 96), interpolation=cv2.INTER_CUBIC) for f in frames])


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    frames = film(NUM_REF + FIRST + 4)
    write_film(folder / "clip.mkv", cropped(frames), pixel_format="yuv444p10le")
    write_film(folder / "ref.mkv", frames[FIRST : FIRST + NUM_REF])
    return folder


@pytest.fixture
def store(films: Path, tmp_path: Path) -> LocalStore:
    """A job directory with the probes of both films, and a solve that is a few frames off and knows nothing of [30, 34)."""
    made = LocalStore(tmp_path / "job")
    roles: tuple[Role, ...] = ("clip", "ref")
    for role in roles:
        write_probe(made, role, probe(parse_source(str(films / f"{role}.mkv"))))
    made.replace("map/solve.csv", FrameMap.of_clip_frames(expected(), NUM_REF + FIRST + 4).to_csv().encode())
    return made


def expected() -> np.ndarray:
    frames = np.arange(NUM_REF) + FIRST + np.random.default_rng(3).integers(-3, 4, NUM_REF)
    frames[30:34] = -1
    return frames


def works(store: LocalStore, bounds: Sequence[int], select: Any, metric: MetricSettings = PLANESTATS) -> list[CompareWork]:
    return [
        CompareWork(
            name=f"compare-{k:05d}",
            job_dir=str(store.root),
            inputs={"frames": f"{start} {stop}", "select": select, "metric": str(metric)},
            num_frames=stop - start,
            ref_frames=FrameRange(start, stop),
            expected=tuple(expected()[start:stop].tolist()),
            film_geometry=CROPPED,
            tr=TR,
            metric=metric,
            select=select,
        )
        for k, (start, stop) in enumerate(pairwise(bounds))
    ]


def chosen(store: LocalStore, bounds: Sequence[int], select: Any, metric: MetricSettings = PLANESTATS) -> FrameMap:
    told: list[int] = []
    units = works(store, bounds, select, metric)
    records = [perform(unit, Attempt(), lambda: told.append(0)) for unit in units]
    assert len(told) == NUM_REF, "progress counts every ref frame"
    work = ChooseWork(
        name="choose",
        job_dir=str(store.root),
        inputs={"bounds": str(bounds), "select": select, "metric": str(metric)},
        num_frames=NUM_REF,
        solved_blob="map/solve.csv",
        cost_blobs=tuple(record.blob for record in records),
        tr=TR,
        select=select,
    )
    blob = perform(work, Attempt(), lambda: None).blob
    return FrameMap.from_csv((store.read(blob) or b"").decode(), NUM_REF, NUM_REF + FIRST + 4)


@pytest.mark.parametrize("select", ["argmin", "path"])
def test_one_chunk_and_seven_give_the_same_map_and_the_films_own_frames(store: LocalStore, select: Any) -> None:
    one = chosen(store, [0, NUM_REF], select)
    assert one == chosen(store, [0, 8, 9, 31, 33, 34, 50, NUM_REF], select)
    truth = np.where(expected() >= 0, np.arange(NUM_REF) + FIRST, -1)
    assert np.array_equal(one.clip_frame, truth)


@pytest.mark.parametrize("select", ["argmin", "path"])
def test_the_map_is_that_of_the_whole_film_matched_at_once(store: LocalStore, select: Any) -> None:
    clip, ref = read_probe(store, "clip"), read_probe(store, "ref")
    laid = Comparable(clip.info, ref.info, CROPPED)
    with FrameReader(clip) as clips, FrameReader(ref) as refs:
        whole = rematch(
            (laid.of_ref(picture) for _, picture in refs.pictures(range(NUM_REF))),
            lambda wanted: ((n, laid.of_clip(picture)) for n, picture in clips.pictures(wanted)),
            expected(),
            len(clip.index),
            TR,
            PlaneStats(),
            select,
        )
    found = chosen(store, [0, 20, 40, NUM_REF], select)
    assert np.array_equal(found.clip_frame, whole.clip_frame) and np.array_equal(found.cost, whole.cost)
    # Alone, a frame that the solve has as well is as sure as the solve was: here, quite.
    agreed = found.matched & (found.clip_frame == expected()) & (select == "argmin")
    assert np.array_equal(found.confidence, np.where(agreed, 1, whole.confidence).astype(np.float32))


def first_of(store: LocalStore, role: Role) -> tuple[Probe, Picture]:
    found = read_probe(store, role)
    with FrameReader(found) as reader:
        return found, next(reader.pictures([0 if role == "ref" else FIRST]))[1]


def test_the_clip_is_seen_as_the_ref_would_show_it_as_far_as_both_show_it(store: LocalStore) -> None:
    (clip, moved), (ref, wanted) = first_of(store, "clip"), first_of(store, "ref")
    both = Comparable(clip.info, ref.info, CROPPED)
    seen, part = both.of_clip(moved), both.of_ref(wanted)
    assert (seen.width, seen.height) == (part.width, part.height) == (72, 48)
    assert [plane.shape for plane in seen.planes] == [plane.shape for plane in part.planes] == [(48, 72), (24, 36), (24, 36)]
    assert seen.format == part.format == wanted.format and np.array_equal(part.planes[0], wanted.planes[0][8:56, 12:84])
    assert np.abs(seen.planes[0].astype(int) - part.planes[0]).mean() < 2
    unmoved = Comparable(clip.info, ref.info, SAME_PICTURE)
    assert np.abs(unmoved.of_clip(moved).planes[0].astype(int) - unmoved.of_ref(wanted).planes[0]).mean() > 5


def test_what_both_show_is_a_box_on_the_chroma_grid_without_anything_outside() -> None:
    y, x = np.mgrid[0:90, 0:160]
    turned = (np.abs((x - 80) - 0.05 * (y - 45)) < 70) & (np.abs((y - 45) + 0.05 * (x - 80)) < 40)
    top, left, bottom, right = shared_box(turned, 4, 2)
    assert turned[top:bottom, left:right].all() and (bottom - top) * (right - left) > 0.8 * turned.sum()
    assert [top % 2, left % 4, bottom % 2, right % 4] == [0, 0, 0, 0]
    assert shared_box(np.ones((45, 81), bool), 2, 2) == (0, 0, 45, 81)
    assert shared_box(x < 20, 2, 2) == shared_box(x < 0, 2, 2) == (0, 0, 90, 160)


def test_a_clip_that_lies_on_the_ref_is_seen_sample_for_sample(store: LocalStore) -> None:
    ref, picture = first_of(store, "ref")
    hardly = (1.0005, 0.0, 0.0, 0.0, 1.0, 0.0005)
    assert Comparable(ref.info, ref.info, hardly).of_clip(picture) is picture


def test_a_chunk_without_expected_frames_reads_nothing(store: LocalStore, films: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.reading.FrameReader", None)
    record = perform(replace(works(store, [30, 34], "path")[0]), Attempt(), lambda: None)
    assert len(StoredRows([store.fetch(record.blob)])) == 0


def test_rows_come_back_as_they_were_and_a_ref_frame_only_once(tmp_path: Path) -> None:
    rows = {3: ([5, 6, 4], np.array([0.5, np.inf, 0.25])), 4: ([7], np.array([1 / 3])), 9: ([1, 2], np.array([0.0, -1.0]))}
    save_rows(tmp_path / "one.npz", [(n, rows[n]) for n in (3, 4)])
    save_rows(tmp_path / "two.npz", [(9, rows[9])])
    save_rows(tmp_path / "none.npz", [])
    stored = StoredRows([tmp_path / name for name in ("one.npz", "none.npz", "two.npz")])
    assert list(stored) == [3, 4, 9]
    for n, (frames, costs) in rows.items():
        assert stored[n][0] == frames and np.array_equal(stored[n][1], costs)
    with pytest.raises(ValueError, match="4 rows of 2 ref frames"):
        StoredRows([tmp_path / "one.npz", tmp_path / "one.npz"])


def test_the_plugins_metric_chooses_the_same_frames_and_only_the_plugin_that_was_found(store: LocalStore) -> None:
    pytest.importorskip("vapoursynth")
    try:
        metric = find_metric(2, "cpu")
    except ValueError:
        pytest.skip("no plugin is installed")
    assert metric is not None
    truth = np.where(expected() >= 0, np.arange(NUM_REF) + FIRST, -1)
    found = chosen(store, [0, 25, NUM_REF], "path", metric)
    assert np.array_equal(found.clip_frame, truth)
    assert found == chosen(store, [0, NUM_REF], "path", metric)
    with pytest.raises(TaskError, match=r"this machine has .*, the job is for .* of other 1\.0"):
        open_metric(replace(metric, version="other 1.0"))


def test_the_costs_of_the_network_are_its_own(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    network = build_cfanet(random_weights()).eval().requires_grad_(False)
    monkeypatch.setattr(topiq, "shared_network", lambda *_: network)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        metric = MetricSettings(3, "TOPIQ", "random")
        short = [replace(work, tr=2) for work in works(store, [0, 4, 8], "argmin", metric)]
        rows = StoredRows([store.fetch(perform(work, Attempt(), lambda: None).blob) for work in short])
        clip, ref = read_probe(store, "clip"), read_probe(store, "ref")
        both, network_metric = Comparable(clip.info, ref.info, CROPPED), topiq.Topiq(half_storage=True)
        with FrameReader(clip) as clips, FrameReader(ref) as refs:
            wanted = network_metric.features(both.of_ref(next(refs.pictures([5]))[1]))
            pictures = [both.of_clip(picture) for _, picture in clips.pictures(rows[5][0])]
        costs = network_metric.costs([(wanted, network_metric.features(picture)) for picture in pictures])
    finally:
        torch.set_num_threads(threads)
    assert sorted(rows[5][0]) == list(range(int(expected()[5]) - 2, int(expected()[5]) + 3))
    assert rows[5][1] == pytest.approx(costs, abs=1e-6) and np.ptp(costs) > 1e-3

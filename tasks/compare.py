"""Compare: one chunk of ref frames against the clip frames around those that the solve gave them, by a picture metric."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

from tasks.comparable import Comparable
from tasks.costrows import save_rows
from tasks.damage import Facts
from tasks.metrics import open_metric
from tasks.pipeline import prefetch
from tasks.progress import OnFrame
from tasks.reading import Readers
from tasks.sources import read_probe
from tasks.store import JobStore
from tasks.thrift import LEVELS, Thrift
from tasks.work import CompareWork
from vsalign.metricband import compared_rows
from vsalign.picture import Picture


def compare_chunk(
    work: CompareWork, store: JobStore, folder: Path, on_frame: OnFrame, device: str = "cpu", thrift: Thrift = LEVELS[0]
) -> tuple[Path, Facts]:
    """The rows of ``work.ref_frames`` that have an expected frame, written to ``folder`` (:func:`tasks.costrows.save_rows`);
    and which frames are damaged and were compared as the one shown in their place."""
    clip, ref = read_probe(store, "clip"), read_probe(store, "ref")
    expected = np.full(work.ref_frames.stop, -1, np.int64)
    expected[work.ref_frames.start :] = work.expected
    wanted = [frame for frame in work.ref_frames if expected[frame] >= 0]
    metric = open_metric(work.metric, device, work.threads) if wanted else None
    path = folder / "costs.npz"
    if metric is None:
        save_rows(path, ())
        _tell(len(work.ref_frames), on_frame)
        return path, {}
    both = Comparable(clip.info, ref.info, work.film_geometry, device)
    # Leaving in this order ends the thread before the reader that it uses is closed.
    with (
        Readers() as readers,
        closing(prefetch(readers.open(store, "ref", work.read)[1].pictures(wanted), thrift.queue_frames)) as pictures,
    ):
        _, clips = readers.open(store, "clip", work.read)

        def give(numbers: Iterable[int]) -> Iterator[tuple[int, Picture]]:
            return ((number, both.of_clip(picture)) for number, picture in clips.pictures(numbers))

        counted = ((frame, both.of_ref(picture)) for frame, picture in _counted(pictures, work, on_frame))
        save_rows(path, compared_rows(counted, give, expected, len(clip.index), work.tr, metric, work.select))
    return path, readers.facts()


def _counted(pictures: Iterable[tuple[int, Picture]], work: CompareWork, on_frame: OnFrame) -> Iterator[tuple[int, Picture]]:
    """``pictures``; tells of all ref frames up to each that is done, those without an expected frame included."""
    done = work.ref_frames.start
    for frame, picture in pictures:
        yield frame, picture
        _tell(frame + 1 - done, on_frame)
        done = frame + 1
    _tell(work.ref_frames.stop - done, on_frame)


def _tell(num_frames: int, on_frame: OnFrame) -> None:
    for _ in range(num_frames):
        on_frame()

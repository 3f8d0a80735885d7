"""Scan and solve on a real film: signatures and map do not depend on how the film was cut into chunks."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.decode import FrameReader
from tasks.localstore import LocalStore
from tasks.messages import Role, Source, SyncSettings
from tasks.probe import probe
from tasks.rows import StoredRows
from tasks.scan import scan_chunk
from tasks.solve import solve_film
from tasks.sources import read_probe, write_probe
from tasks.work import ScanWork, SolveWork
from tests.films import film, graded, write_film
from vsalign.framemap import FrameMap
from vsalign.frames import FrameRange
from vsalign.signature import sign
from vsalign.thumb import THUMB_HEIGHT, THUMB_WIDTH

NUM_FRAMES, OFFSET, CHUNKS = 100, 3, 50
ROLES: tuple[Role, Role] = ("clip", "ref")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    """A job of two small films, probed."""
    folder = tmp_path_factory.mktemp("scan")
    made = LocalStore(folder / "job")
    frames = film(NUM_FRAMES, 160, 96)
    for role, pictures in zip(ROLES, (graded(frames[OFFSET:]), frames), strict=True):
        path = write_film(folder / f"{role}.mkv", pictures)
        write_probe(made, role, probe(Source(str(path))))
    return made


def scanned(store: LocalStore, role: Role, chunks: int) -> tuple[str, ...]:
    """The blobs of ``role`` in so many chunks."""
    count = len(read_probe(store, role).index)
    blobs = []
    for k in range(chunks):
        part = FrameRange(count * k // chunks, count * (k + 1) // chunks)
        work = ScanWork(name=f"scan-{role}-{k}", job_dir="", inputs={}, num_frames=len(part), role=role, frames=part)
        seen: list[None] = []
        blob = f"scan/{role}-{chunks}-{k}.npy"
        store.publish(scan_chunk(work, store, store.scratch(), lambda seen=seen: seen.append(None))[0], blob)
        assert len(seen) == len(part)
        blobs.append(blob)
    return tuple(blobs)


def rows_of(store: LocalStore, blobs: tuple[str, ...], count: int) -> StoredRows:
    return StoredRows([store.fetch(blob) for blob in blobs], count)


def solved(store: LocalStore, clip: tuple[str, ...], ref: tuple[str, ...]) -> tuple[str, dict[str, float | int | str]]:
    """The map as text and the facts."""
    work = SolveWork(
        name="solve", job_dir="", inputs={}, num_frames=NUM_FRAMES, clip_blobs=clip, ref_blobs=ref, settings=SyncSettings(8)
    )
    path, facts = solve_film(work, store, store.scratch())
    return path.read_text(encoding="utf-8"), facts


def test_fifty_chunks_give_the_very_signatures_and_the_very_map_of_one(store: LocalStore) -> None:
    one = {role: scanned(store, role, 1) for role in ROLES}
    many = {role: scanned(store, role, CHUNKS) for role in ROLES}
    for role, count in zip(ROLES, (NUM_FRAMES - OFFSET, NUM_FRAMES), strict=True):
        whole, pieces = rows_of(store, one[role], count)[:], rows_of(store, many[role], count)[:]
        assert np.array_equal(whole, pieces)
    text, facts = solved(store, one["clip"], one["ref"])
    assert (text, facts) == solved(store, many["clip"], many["ref"])
    found = FrameMap.from_csv(text, NUM_FRAMES, NUM_FRAMES - OFFSET)
    assert found.clip_frame.tolist() == [-1] * OFFSET + list(range(NUM_FRAMES - OFFSET))
    assert float(facts["score"]) > float(facts["needed_score"])
    assert (facts["offset_seconds"], facts["rate_ratio"]) == (pytest.approx(-OFFSET / 24, abs=2e-3), 1.0)


def test_a_scan_holds_the_signatures_of_the_films_thumbs(store: LocalStore) -> None:
    """Over more than two batches, the last of them not full."""
    whole = rows_of(store, scanned(store, "ref", 1), NUM_FRAMES)
    with FrameReader(read_probe(store, "ref")) as reader:
        thumbs = np.stack([thumb for _, thumb in reader.thumbs(FrameRange(0, NUM_FRAMES), THUMB_WIDTH, THUMB_HEIGHT)])
    assert np.array_equal(whole[:], sign(thumbs))


def test_a_solve_with_blobs_missing_is_refused(store: LocalStore) -> None:
    blobs = scanned(store, "ref", 5)
    with pytest.raises(ValueError, match="scan blobs hold 80 frames, the source has 97"):
        solved(store, blobs[:4], blobs)

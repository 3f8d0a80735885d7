"""Whose film is at OUT, which attempts may publish, what workers have to see, and room: all without films."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import pytest

import orchestrator.outcheck
from orchestrator.estimate import Estimate, estimate
from orchestrator.finish import out_is_ours, stitch_work
from orchestrator.outcheck import check_disk
from orchestrator.sighting import sight_of
from orchestrator.soundtrack import Soundtrack
from orchestrator.streamchoice import Choice, Chosen
from tasks.final import Final, settle_final, write_final
from tasks.localstore import LocalStore
from tasks.messages import StreamInfo
from tasks.sight import see
from tasks.store import file_sha256
from tasks.streamplan import NO_EXTRAS
from tests.factories import config_of, inputs_of, record, work
from vsalign.errors import InputError


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStore:
    monkeypatch.chdir(tmp_path)
    store = LocalStore(config_of().job_location)
    store.replace("job.json", b"{}")
    return store


def test_the_film_that_is_being_replaced_is_ours_too(store: LocalStore):
    """As a kill leaves it between the note and the film, after which a resume goes on without being told to overwrite."""
    out, old, new = Path("out.mkv"), Path("old"), Path("new")
    old.write_bytes(b"old")
    new.write_bytes(b"new")
    assert not out_is_ours(config_of())
    out.write_bytes(b"old")
    write_final(store, Final("old", file_sha256(old)))
    assert out_is_ours(config_of())
    replacing = Final("new", file_sha256(new))
    write_final(store, replacing)
    assert out_is_ours(config_of())
    out.write_bytes(b"new")
    assert out_is_ours(config_of())
    out.write_bytes(b"someone else's")
    assert not out_is_ours(config_of())
    settle_final(store, replacing)
    out.write_bytes(b"old")
    assert not out_is_ours(config_of())


def test_each_run_has_its_own_list_of_parts_and_takes_the_earlier_away(store: LocalStore):
    run = SimpleNamespace(job=SimpleNamespace(store=store), job_dir=store.location, config=config_of(), inputs=inputs_of())
    unit = work("render-00000")
    chunk = SimpleNamespace(
        name=unit.name,
        record_name=unit.record_name,
        fingerprint=unit.fingerprint,
        ref_frames=unit.frames,
        video=run.inputs.video,
        pixel_format="yuv420p",
        encode=SimpleNamespace(codec="libx264"),
    )
    first, second = (stitch_work(run, [chunk], {unit.name: record(of=unit)}, Soundtrack(NO_EXTRAS), None) for _ in range(2))
    assert first.fingerprint == second.fingerprint
    assert store.read(first.parts) is None and store.read(second.parts) is not None


def test_workers_have_to_see_the_job_its_sources_and_where_the_film_goes(store: LocalStore):
    config, inputs = config_of(), inputs_of()
    sight = sight_of(config, inputs, store)
    assert (sight.job_dir, sight.out) == (store.location, str(Path("out.mkv").resolve()))
    assert sight.sources == (("clip.mkv", 1000), ("ref.mkv", 1000))
    assert "clip.mkv" in see(sight)
    for path, size in sight.sources:
        Path(path).write_bytes(bytes(size))
    assert see(sight) == "" and sight_of(config, inputs, store, publishes=False).out == ""
    remote = replace(inputs.clip.info, source=replace(inputs.clip.info.source, path="s3://films/clip.mkv"))
    elsewhere = replace(inputs, clip=replace(inputs.clip, info=remote), weights="ref.mkv")
    assert sight_of(config, elsewhere, store).sources == (("ref.mkv", 1000), ("ref.mkv", 1000))


def test_sound_that_is_there_already_needs_no_room(store: LocalStore, monkeypatch: pytest.MonkeyPatch):
    usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr(orchestrator.outcheck.shutil, "disk_usage", lambda folder: usage(1, 1, 0))
    need = Estimate(segment_bytes=0, scan_bytes=0, output_bytes=0, scan_seconds=0.0, render_seconds=0.0, sound_bytes=100)
    with pytest.raises(InputError, match="free some"):
        check_disk(config_of(), need)
    store.create("sound/a.mka", bytes(100))
    check_disk(config_of(), need)
    heard = StreamInfo(1, "audio", "aac", "", Fraction(1, 48000))
    inputs = replace(inputs_of(), choice=Choice((Chosen("clip", "audio", 0, heard),)))
    assert estimate(inputs, config_of(), 1).sound_bytes > 0
    assert estimate(inputs_of(), config_of(), 1).sound_bytes == 0


def test_all_that_ref_has_beside_its_picture_counts_once_it_is_copied():
    inputs, text = inputs_of(), StreamInfo(1, "subtitle", "subrip", "", Fraction(1, 1000))
    picture = int(inputs.ref.index.packet_bytes.sum())
    inputs = replace(inputs, ref=replace(inputs.ref, info=replace(inputs.ref.info, size_bytes=picture + 777)))
    chosen = replace(inputs, choice=Choice((Chosen("ref", "subtitle", 0, text),)))
    without, copied = (estimate(each, config_of(), 1).output_bytes for each in (inputs, chosen))
    assert copied == without + 777

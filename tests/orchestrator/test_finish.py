"""Whose film is at OUT, which attempts may publish, what workers have to see, and room: all without films."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import pytest

import orchestrator.outcheck
import orchestrator.soundtrack
import orchestrator.works
from orchestrator.config import JobConfig
from orchestrator.estimate import Estimate, estimate
from orchestrator.finish import _joins_these, out_is_ours, stitch_work
from orchestrator.outcheck import check_disk
from orchestrator.resume import Found, sort_units
from orchestrator.sighting import sight_of
from orchestrator.soundtrack import Soundtrack
from orchestrator.streamchoice import NO_STREAMS, Choice, Chosen
from orchestrator.works import content_digest
from tasks.commit import library_versions
from tasks.final import Final, settle_final, write_final
from tasks.localstore import LocalStore
from tasks.messages import StreamInfo
from tasks.sight import see
from tasks.soundplan import SoundPlan
from tasks.store import file_sha256
from tasks.streamplan import NO_EXTRAS, Extras, Origin, Pick
from tasks.work import Record, StitchWork
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


def stitching(store: LocalStore, config: JobConfig, choice: Choice = NO_STREAMS, extras: Extras = NO_EXTRAS) -> StitchWork:
    """The unit that joins the film of one chunk."""
    inputs = replace(inputs_of(), choice=choice)
    run = SimpleNamespace(job=SimpleNamespace(store=store), job_dir=store.location, config=config, inputs=inputs)
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
    return stitch_work(run, [chunk], {unit.name: record(of=unit)}, Soundtrack(extras), None)


def test_each_run_has_its_own_list_of_parts_and_takes_the_earlier_away(store: LocalStore):
    first, second = (stitching(store, config_of()) for _ in range(2))
    assert first.fingerprint == second.fingerprint
    assert store.read(first.parts) is None and store.read(second.parts) is not None


def test_for_the_web_the_index_comes_first_and_such_a_film_is_another_one(store: LocalStore):
    plain, web = (
        stitching(store, config_of(encode=encode).model_copy(update={"out": "out.mp4"})) for encode in ({}, {"preset": "web"})
    )
    assert plain.container_options == () and web.container_options == (("movflags", "+faststart"),)
    assert web.inputs["container options"] == "movflags=+faststart"
    assert web.joined != plain.joined and web.fingerprint != plain.fingerprint
    assert stitching(store, config_of(encode={"preset": "web"})).container_options == (), "mkv"


def test_a_film_of_other_streams_is_told_in_words(store: LocalStore):
    """Not as "streams", which tells nobody what to look at; and where the words are alike, the film still is another one."""

    def film_of(choice: Choice, *kinds: str) -> StitchWork:
        extras = Extras((Origin("ref", "ref.mkv"),), tuple(Pick(0, n, kind) for n, kind in enumerate(kinds)))  # type: ignore
        return stitching(store, config_of(), choice, extras)

    ref = [Chosen("ref", "audio", n, StreamInfo(n + 1, "audio", "flac", "eng", Fraction(1, 1000))) for n in range(2)]
    plain, all_of_it = film_of(Choice()), film_of(Choice((*ref,), "ref", "ref"), "audio", "audio")
    known = replace(record(of=plain), inputs=plain.inputs), replace(record(of=all_of_it), inputs=all_of_it.inputs)

    def why(work: StitchWork, earlier: Record) -> list[str]:
        return list(sort_units([work], Found((earlier,), {earlier.blob: earlier.size_bytes})).why_stale)

    assert why(all_of_it, known[0]) == ["streams.audio none -> ref 0,1, streams.chapters none -> ref, streams.tags none -> ref"]
    assert why(film_of(Choice((ref[1],), "ref", "ref"), "audio"), known[1]) == ["streams.audio ref 0,1 -> ref 1"]
    assert why(film_of(Choice((*ref,), "ref", "ref"), "audio", "cover"), known[1]) == ["streams"]


def test_the_film_and_its_sound_depend_on_the_ffmpeg_that_writes_them(store: LocalStore, monkeypatch: pytest.MonkeyPatch):
    def made() -> tuple[str, ...]:
        film, plan = stitching(store, config_of()), SoundPlan((), 0.0, 1.0)
        return film.fingerprint, film.joined, orchestrator.soundtrack._fingerprint(config_of(), inputs_of(), plan, (1,))

    before = made()
    for name in ("av", "ffmpeg"):
        other = {**library_versions(), name: "another"}
        for module in (orchestrator.works, orchestrator.soundtrack):
            monkeypatch.setattr(module, "library_versions", lambda other=other: other)
        assert all(was != now for was, now in zip(before, made(), strict=True))


def test_a_film_is_finished_as_long_as_it_is_of_the_units_that_are_there_and_may_be_used():
    units = [work(f"render-{n:05d}", of=str(n)) for n in range(2)]
    whole = [record(of=unit, sha256=f"{n}") for n, unit in enumerate(units)]
    final = Final("fingerprint", "film")
    joined = {"segments": content_digest(whole)}
    film = record(of=work("stitch"), inputs=joined, sha256="film", blob="out.mkv")
    damaged = replace(whole[1], facts={"replaced_clip": 1})

    def finished(*records: Record) -> bool:
        return _joins_these(units, Found(records, {each.blob: each.size_bytes for each in records}), final)

    assert finished(*whole, film)
    assert not finished(whole[0], damaged, film), "a frame was repeated, and these settings want none"
    assert not finished(whole[0], replace(whole[1], sha256="anew"), film), "killed after the chunk was made again"
    assert finished(film) and finished(whole[0], film), "cleaned away"
    assert not finished(damaged, film)
    assert finished(*whole), "killed before the film's record"
    assert finished(*whole, replace(film, inputs={"chunks": "of an earlier version"}))


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

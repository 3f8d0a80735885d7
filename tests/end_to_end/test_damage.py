"""Results that are not what their records say: noticed, told, and exactly those made again; the film comes out the same."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

import orchestrator.finish
import orchestrator.resume
import tasks.render
import tasks.scan
from orchestrator.cli import run
from orchestrator.jobrun import UnitsDone
from orchestrator.report import StageReport
from orchestrator.state import AttemptFailed, Cause
from orchestrator.supervise import StageOutcome
from tasks.commit import find_record
from tasks.errors import DamagedResults, StitchError
from tasks.join import join_film
from tasks.localstore import LocalStore
from tasks.run import perform
from tasks.work import Attempt, Record, StitchWork
from tests.films import film, graded, write_film, write_pair

JOB = Path("out.mkv.vsalign")
NUM, CHUNK = 80, 20


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder "kept" with a pair, a job of it whose film has been lost, and that film as calm.mkv."""
    folder = tmp_path_factory.mktemp("films")
    here = folder / "here"
    here.mkdir()
    write_pair(here, NUM, 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        common = ["--pool", "local", "--quiet", "--chunk-frames", str(CHUNK), "--no-warp"]
        assert run(["render", "clip.mkv", "ref.mkv", "-o", "out.mkv", *common]) == 0
        next((JOB / "done").glob("stitch-*")).unlink()
        Path("out.mkv").rename("calm.mkv")
    shutil.copytree(here, folder / "kept")
    return folder


@pytest.fixture
def job(films: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job whose film has been lost, so that the next run needs all of its results; in the folder where it was made."""
    monkeypatch.chdir(films)
    shutil.rmtree(films / "here")
    shutil.copytree(films / "kept", films / "here")
    monkeypatch.chdir(films / "here")
    return films / "here"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the chunks and scans that are made from now on."""
    names: list[str] = []
    render, scan = tasks.render.render_chunk, tasks.scan.scan_chunk
    monkeypatch.setattr(tasks.render, "render_chunk", lambda work, *rest: names.append(work.name) or render(work, *rest))
    monkeypatch.setattr(tasks.scan, "scan_chunk", lambda work, *rest: names.append(work.name) or scan(work, *rest))
    return names


def record(unit: str) -> Record:
    return Record.from_json(next((JOB / "done").glob(f"{unit}-*.json")).read_bytes())


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def assert_the_same() -> None:
    assert Path("out.mkv").read_bytes() == Path("calm.mkv").read_bytes()
    assert not list(Path().glob(".*part*"))


def test_one_changed_byte_of_a_segment(job: Path, made: list[str], capsys: pytest.CaptureFixture[str]):
    flip_a_byte(JOB / record("render-00002").blob)
    assert run(["resume", str(JOB)]) == 0
    assert "render: reused 3 chunks, damaged 1 (bytes differ from the record), missing 0" in capsys.readouterr().err
    assert made == ["render-00002"]
    assert not list(JOB.glob("parts/*"))
    assert_the_same()


def test_one_changed_byte_of_signatures(job: Path, made: list[str], capsys: pytest.CaptureFixture[str]):
    unit = next(iter((JOB / "done").glob("scan-clip-*"))).name.rpartition("-")[0]
    flip_a_byte(JOB / record(unit).blob)
    assert run(["resume", str(JOB)]) == 0
    assert "damaged 1" in capsys.readouterr().err and made == [unit]
    assert_the_same()


def test_a_segment_that_is_gone_and_a_record_that_is_empty(job: Path, made: list[str], capsys: pytest.CaptureFixture[str]):
    (JOB / record("render-00001").blob).unlink()
    next((JOB / "done").glob("render-00003-*.json")).write_bytes(b"")
    assert run(["resume", str(JOB)]) == 0
    told = capsys.readouterr().err
    assert "render: 1 unreadable records were put aside" in told and "reused 2 chunks, lost 1" in told and "missing 1" in told
    assert made == ["render-00001", "render-00003"]
    assert_the_same()


def test_one_changed_setting(job: Path, made: list[str], capsys: pytest.CaptureFixture[str]):
    saved = json.loads((JOB / "job.json").read_bytes())
    saved["config"]["encode"]["crf"] = 30.0
    (JOB / "job.json").write_text(json.dumps(saved))
    assert run(["resume", str(JOB)]) == 0
    assert "stale 4 (encode.crf" in capsys.readouterr().err
    assert made == [f"render-{n:05d}" for n in range(NUM // CHUNK)]


def test_a_clip_in_whose_place_lies_another_of_the_same_length(job: Path, made: list[str], capsys: pytest.CaptureFixture[str]):
    """Its scans and all chunks are made again, ref's scans are not."""
    before = Path("clip.mkv").stat()
    write_film(Path("clip.mkv"), graded(film(NUM), (-1.0, 0.5)))
    assert Path("clip.mkv").stat().st_size != before.st_size
    assert run(["resume", str(JOB)]) == 0
    told = capsys.readouterr().err
    assert "clip.mkv is another file than this job had for its clip" in told
    assert "scan: reused" in told and "stale 4 (clip " in told
    assert [name for name in made if "scan-ref" in name] == [] and [name for name in made if "scan-clip" in name]
    assert len([name for name in made if "render" in name]) == NUM // CHUNK


def test_what_only_joining_finds_is_rendered_again_within_the_run(
    job: Path, made: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """As on an object store, whose files are not read before work."""
    monkeypatch.setattr(orchestrator.resume, "damaged_units", lambda *_: set())
    flip_a_byte(JOB / record("render-00000").blob)
    flip_a_byte(JOB / record("render-00002").blob)
    assert run(["resume", str(JOB)]) == 0
    assert "render-00000, render-00002: gone, or not the bytes that were recorded; made again" in capsys.readouterr().err
    assert made == ["render-00000", "render-00002"]
    assert_the_same()


def test_a_disk_that_goes_on_damaging_files_ends_the_run(job: Path, capsys: pytest.CaptureFixture[str], monkeypatch):
    monkeypatch.setattr(orchestrator.resume, "damaged_units", lambda *_: set())
    real = tasks.run.commit

    def damaging(store, work, *rest, **facts):
        done = real(store, work, *rest, **facts)
        if work.name == "render-00000":
            flip_a_byte(JOB / done.blob)
        return done

    with monkeypatch.context() as patch:
        patch.setattr(tasks.run, "commit", damaging)
        flip_a_byte(JOB / record("render-00000").blob)
        assert run(["resume", str(JOB), "--quiet"]) == 1
    error = capsys.readouterr().err
    assert "stitch failed" in error and "damaged: render-00000" in error and "Traceback" not in error
    assert not Path("out.mkv").exists()
    assert run(["resume", str(JOB), "--quiet"]) == 0
    assert_the_same()


def test_chunks_with_other_codec_headers_are_named_before_anything_is_joined(job: Path, capsys, monkeypatch):
    path = next((JOB / "done").glob("render-00001-*.json"))
    odd = json.loads(path.read_bytes())
    odd["facts"]["header_sha256"], odd["host"] = "ff", "elsewhere"
    path.write_text(json.dumps(odd))
    assert run(["resume", str(JOB), "--quiet"]) == 1
    error = capsys.readouterr().err
    assert "codec headers of 1 of 4 chunks differ" in error and "render-00001 on elsewhere" in error and "av 1" in error
    assert not Path("out.mkv").exists() and not list((JOB / "done").glob("stitch-*"))


@pytest.fixture
def stitch(job: Path, monkeypatch: pytest.MonkeyPatch) -> StitchWork:
    """The unit that joins the film, not yet done."""
    seen: list[StitchWork] = []
    real = orchestrator.finish.stitch_work
    monkeypatch.setattr(orchestrator.finish, "stitch_work", lambda *rest: seen.append(real(*rest)) or seen[-1])
    monkeypatch.setattr(orchestrator.finish, "_tidy", lambda run, final: None)
    assert run(["resume", str(JOB), "--quiet"]) == 0
    Path("out.mkv").unlink()
    (JOB / seen[0].record_name).unlink()
    (JOB / "final.json").unlink()
    return seen[0]


def test_an_attempt_whose_answer_was_lost_is_answered_by_the_record(stitch: StitchWork, monkeypatch: pytest.MonkeyPatch):
    told: list[int] = []
    first = perform(stitch, Attempt(), lambda: told.append(1))
    assert len(told) == NUM and first.blob == str(Path("out.mkv").absolute())
    when = Path("out.mkv").stat().st_mtime_ns
    assert perform(stitch, Attempt(2), lambda: None) == first and Path("out.mkv").stat().st_mtime_ns == when
    assert_the_same()
    Path("out.mkv").write_bytes(b"short")
    perform(stitch, Attempt(3), lambda: None)
    assert_the_same()


def test_a_published_film_is_looked_for_where_it_lies(stitch: StitchWork, monkeypatch: pytest.MonkeyPatch):
    """An address is no name inside the job directory."""
    done = perform(stitch, Attempt(), lambda: None)
    path = JOB / stitch.record_name
    path.write_bytes(replace(done, blob="s3://films/out.mkv").to_json())
    sizes = {"s3://films/out.mkv": done.size_bytes}
    monkeypatch.setattr("tasks.commit.out_size", sizes.get)
    assert find_record(LocalStore(JOB), stitch) is not None
    sizes.clear()
    assert find_record(LocalStore(JOB), stitch) is None


def test_attempts_at_the_same_time_do_not_tread_on_each_other(stitch: StitchWork):
    with ThreadPoolExecutor(4) as pool:
        records = list(pool.map(lambda number: join_film(stitch, Attempt(number), LocalStore(JOB), lambda: None), range(1, 5)))
    assert len({made.sha256 for made in records}) == 1
    assert len(list((JOB / "done").glob("stitch-*"))) == 1
    assert_the_same()


@pytest.mark.parametrize("fails", ["write_final", "publish_out", "record_of"])
def test_a_failure_on_the_way_leaves_nothing_beside_out_and_the_next_attempt_does_it(stitch, monkeypatch, fails: str):
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(f"tasks.join.{fails}", broken)
        with pytest.raises(RuntimeError):
            perform(stitch, Attempt(), lambda: None)
    assert Path("out.mkv").exists() == (fails == "record_of") and not (JOB / stitch.record_name).exists()
    assert not list(Path().glob(".*part*")) and not list((JOB / ".vsalign-scratch").iterdir())
    # What is at OUT without its record is known as the job's own, so that a resume goes on.
    assert (JOB / "final.json").exists() == (fails != "write_final")
    perform(stitch, Attempt(2), lambda: None)
    assert_the_same()


def test_a_film_that_is_not_as_planned_is_not_published(stitch: StitchWork, monkeypatch: pytest.MonkeyPatch):
    from types import SimpleNamespace

    monkeypatch.setattr("tasks.join.verify", lambda *_: SimpleNamespace(problems=("79 frames, 80 were planned",)))
    with pytest.raises(StitchError, match="79 frames"):
        perform(stitch, Attempt(), lambda: None)
    assert not Path("out.mkv").exists() and not list(Path().glob(".*part*")) and not (JOB / "final.json").exists()


def test_damaged_segments_lose_their_records_and_whole_ones_keep_them(stitch: StitchWork, monkeypatch: pytest.MonkeyPatch):
    victim = record("render-00003")
    flip_a_byte(JOB / victim.blob)
    for _ in range(2):
        with pytest.raises(DamagedResults, match="render-00003") as caught:
            perform(stitch, Attempt(), lambda: None)
        assert caught.value.names == ("render-00003",)
        # The next attempt is told by the record that is missing, before it reads a film's worth of files again.
        monkeypatch.setattr("tasks.join.file_sha256", lambda path: pytest.fail("read again"))
    assert len(list((JOB / "done").glob("render-*"))) == NUM // CHUNK - 1
    # The file stays: it may be whole, and only have been read wrong.
    assert list((JOB / "retired").glob("*render-00003*")) and (JOB / victim.blob).exists()


def test_what_only_the_joining_machine_missed_is_joined_again_once(job: Path, capsys, monkeypatch: pytest.MonkeyPatch):
    real, stitched = orchestrator.finish.do_units, []

    def failing(times: int):
        def do(run_, stage, noun, works, kind):
            if stage != "stitch":
                return real(run_, stage, noun, works, kind)
            stitched.append(works[0].parts)
            if len(stitched) > times:
                return real(run_, stage, noun, works, kind)
            failure = AttemptFailed(works[0].name, 1, Cause.CODE, "damaged: render-00001")
            return UnitsDone({}, StageOutcome({}, {works[0].name: failure}), StageReport(stage, 0, 0.0))

        return do

    monkeypatch.setattr(orchestrator.finish, "do_units", failing(99))
    assert run(["resume", str(JOB), "--quiet"]) == 1
    assert len(stitched) == 2 and "damaged: render-00001" in capsys.readouterr().err
    stitched.clear()
    monkeypatch.setattr(orchestrator.finish, "do_units", failing(1))
    assert run(["resume", str(JOB), "--quiet"]) == 0
    # Each try has its own list of parts, and nothing of an earlier one may come after it.
    assert len(set(stitched)) == 2
    assert_the_same()

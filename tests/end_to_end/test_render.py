"""The whole walk in one process, on real files: what comes out, what is reused, what is said."""

from __future__ import annotations

import hashlib
import json
import shutil
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

import tasks.render
from orchestrator.cli import run
from tasks.probe import parse_source, probe
from tests.films import film, write_film, write_pair

OFFSET = 3


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    write_pair(folder, 100, OFFSET)
    return folder


def render(*arguments: str, out: str = "out.mkv", status: int = 0) -> None:
    assert run(["render", "clip.mkv", "ref.mkv", "-o", out, "--pool", "local", "--quiet", *arguments]) == status


def frames_of(path: str) -> list[str]:
    """A hash of every decoded frame."""
    with av.open(path) as container:
        return [hashlib.sha256(frame.to_ndarray().tobytes()).hexdigest() for frame in container.decode(video=0)]


def luma_of(path: str) -> np.ndarray:
    with av.open(path) as container:
        return np.stack([frame.to_ndarray(format="gray") for frame in container.decode(video=0)])


def audio_of(path: str) -> list[bytes]:
    with av.open(path) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def map_rows(folder: str = "out.mkv.vsalign") -> list[str]:
    return [line.split(",")[1] for line in Path(folder, "map.csv").read_text().splitlines()[1:]]


def last_report(folder: str = "out.mkv.vsalign") -> dict:
    return json.loads(Path(folder, "report.json").read_text())


def test_the_output_has_refs_times_refs_sound_and_the_clips_moments(here: Path):
    render("--chunk-frames", "30")
    out, ref = probe(parse_source("out.mkv")), probe(parse_source("ref.mkv"))
    assert np.array_equal(out.index.pts, ref.index.pts) and out.info.time_base == ref.info.time_base
    assert audio_of("out.mkv") == audio_of("ref.mkv")
    assert map_rows() == [""] * OFFSET + [str(n) for n in range(100 - OFFSET)]
    report = last_report()
    assert report["complete"] and report["matches"]["unmatched_at_start"] == OFFSET and report["chunks"] == 4
    assert not list(here.glob(".*part*")) and not list(here.glob("out.mkv.vsalign/.vsalign-scratch/*"))


def test_the_output_lies_on_ref_where_the_clip_did_not(here: Path):
    render()
    out, ref, clip = (luma_of(name).astype(float) for name in ("out.mkv", "ref.mkv", "clip.mkv"))
    inner = (slice(None), slice(8, -8), slice(8, -8))

    def similarity(one: np.ndarray, other: np.ndarray) -> float:
        pairs = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(one[inner], other[inner], strict=True)]
        return float(np.mean(pairs))

    before, after = similarity(clip, ref[OFFSET:]), similarity(out[OFFSET:], ref[OFFSET:])
    assert before < 0.97 and after > 0.99


def test_any_number_of_chunks_gives_the_same_frames(here: Path):
    render("--codec", "ffv1", "--chunk-frames", "100", out="one.mkv")
    render("--codec", "ffv1", "--chunk-frames", "17", out="many.mkv")
    assert frames_of("one.mkv") == frames_of("many.mkv")
    assert len(list(Path("many.mkv.vsalign/seg").iterdir())) == 6


def test_the_same_job_gives_the_same_file(here: Path):
    render("--chunk-frames", "40", out="one.mkv")
    render("--chunk-frames", "40", out="two.mkv")
    assert Path("one.mkv").read_bytes() == Path("two.mkv").read_bytes()


def test_without_sync_and_warp_a_film_of_refs_size_comes_out_as_it_is(here: Path):
    write_film(here / "clip.mkv", film(50), codec="ffv1", crf=None)
    write_film(here / "ref.mkv", film(50, seed=2))
    render("--no-sync", "--no-warp", "--codec", "ffv1", "--chunk-frames", "20", "--audio", "none")
    assert frames_of("out.mkv") == frames_of("clip.mkv")


def test_a_clip_of_another_size_is_scaled_to_refs(here: Path):
    write_film(here / "clip.mkv", film(20, 160, 120))
    render("--no-sync", "--no-warp")
    assert luma_of("out.mkv").shape == (100, 64, 96)


def test_a_constant_offset_and_a_map_of_ones_own_are_followed(here: Path):
    render("--offset", "-5", "--no-warp")
    assert map_rows() == [""] * 5 + [str(n) for n in range(95)]
    Path("mine.csv").write_text("ref_frame,clip_frame\n" + "".join(f"{n},{n // 2}\n" for n in range(100)))
    render("--frame-map", "mine.csv", "--no-warp", out="mapped.mkv")
    assert map_rows("mapped.mkv.vsalign") == [str(n // 2) for n in range(100)]


def test_variable_frame_times_and_a_late_start_survive_in_mp4_exactly(here: Path):
    pts = np.cumsum(np.random.default_rng(1).integers(3000, 9000, 60)) + 12345
    write_film(here / "ref.mp4", film(60), pts=pts, time_base=Fraction(1, 90000))
    assert run(["render", "clip.mkv", "ref.mp4", "-o", "out.mp4", "--pool", "local", "--no-sync", "--no-warp", "-q"]) == 0
    out, ref = probe(parse_source("out.mp4")).index, probe(parse_source("ref.mp4")).index
    assert out.time_base == ref.time_base == Fraction(1, 90000)
    assert np.array_equal(out.pts, ref.pts) and np.array_equal(np.diff(out.pts), np.diff(pts))


@pytest.mark.parametrize("unmatched", ["hold", "ref", "black", "fallback"])
def test_a_ref_frame_without_counterpart_shows_what_the_user_chose(here: Path, unmatched: str):
    write_film(here / "spare.mkv", np.full((100, 64, 96), 200, np.uint8))
    spare = ("--fallback", "spare.mkv") if unmatched == "fallback" else ()
    render("--unmatched", unmatched, *spare, "--codec", "ffv1")
    out, ref = luma_of("out.mkv").astype(int), luma_of("ref.mkv").astype(int)
    if unmatched == "hold":
        assert np.array_equal(out[0], out[OFFSET])
    elif unmatched == "ref":
        assert np.abs(out[0] - ref[0]).max() <= 1
    else:
        assert np.abs(out[0] - {"black": 16, "fallback": 200}[unmatched]).max() <= 16
    assert last_report()["unmatched_show"] == unmatched


def test_the_clips_sound_is_moved_by_the_films_offset(here: Path):
    write_film(here / "clip.mkv", film(100)[OFFSET:], sound=True)
    render("--audio", "clip")
    with av.open("out.mkv") as container:
        first = next(packet for packet in container.demux(audio=0) if packet.size)
        assert float(first.pts * first.time_base) == pytest.approx(OFFSET / 24, abs=0.003)


def test_a_repeated_render_reuses_everything_and_says_so(here: Path, capsys):
    render("--chunk-frames", "30")
    first = Path("out.mkv").read_bytes()
    Path("out.mkv").unlink()
    assert run(["render", "clip.mkv", "ref.mkv", "-o", "out.mkv", "--pool", "local", "--chunk-frames", "30"]) == 0
    assert "render: reused 4 chunks, missing 0" in capsys.readouterr().err
    assert Path("out.mkv").read_bytes() == first


def test_a_changed_setting_renders_all_chunks_again_and_says_why(here: Path, capsys):
    render("--chunk-frames", "30", "--crf", "18")
    command = ["render", "clip.mkv", "ref.mkv", "-o", "out.mkv", "--pool", "local", "--chunk-frames", "30", "--overwrite"]
    assert run([*command, "--crf", "20"]) == 0
    said = capsys.readouterr().err
    assert "stale 4 (encode.crf 18.0 -> 20.0)" in said and "scan: reused 2 scans, missing 0" in said


@pytest.mark.parametrize("warp", [("--smooth-time", "4"), ("--no-warp",)])
def test_an_edited_map_renders_only_the_chunks_it_changes(here: Path, warp: tuple[str, ...]):
    render("--chunk-frames", "25", *warp)
    rows = Path("out.mkv.vsalign/map.csv").read_text().replace("\n60,57,", "\n60,56,")
    Path("mine.csv").write_text(rows)
    render("--chunk-frames", "25", *warp, "--frame-map", "mine.csv", "--overwrite")
    stages = {stage["name"]: stage for stage in last_report()["stages"]}
    assert stages["render"]["reused_units"] == 3 and stages["render"]["frames"] == 25


def test_a_chunk_that_fails_is_parked_all_others_finish_and_resume_tries_only_that_one(here: Path, capsys, monkeypatch):
    real, tried = tasks.render.render_chunk, []

    def broken(work, *rest):
        tried.append(work.name)
        if work.name == "render-00001":
            raise ValueError("poison")
        return real(work, *rest)

    monkeypatch.setattr(tasks.render, "render_chunk", broken)
    render("--chunk-frames", "30", status=1)
    assert tried.count("render-00001") == 2 and not Path("out.mkv").exists()
    assert "render-00001 (ref frames [30, 60)): ValueError: poison" in capsys.readouterr().out
    assert "poison" in Path("out.mkv.vsalign/logs/render-00001-1.log").read_text()
    monkeypatch.setattr(tasks.render, "render_chunk", lambda work, *rest: tried.append(work.name) or real(work, *rest))
    tried.clear()
    assert run(["resume", "out.mkv.vsalign", "--quiet"]) == 0
    assert tried == ["render-00001"]
    render("--chunk-frames", "30", out="calm.mkv")
    assert Path("out.mkv").read_bytes() == Path("calm.mkv").read_bytes()


@pytest.mark.parametrize("damage", ["record", "segment"])
def test_a_damaged_result_is_noticed_and_made_again(here: Path, capsys, damage: str):
    render("--chunk-frames", "30")
    first = Path("out.mkv").read_bytes()
    Path("out.mkv").unlink()
    victim = next(Path("out.mkv.vsalign/done").glob("render-00002*"))
    if damage == "record":
        victim.write_bytes(b"")
    else:
        Path("out.mkv.vsalign", json.loads(victim.read_text())["blob"]).write_bytes(b"short")
    assert run(["resume", "out.mkv.vsalign"]) == 0
    assert ("unreadable" if damage == "record" else "lost 1") in capsys.readouterr().err
    assert Path("out.mkv").read_bytes() == first


def test_a_finished_job_resumes_to_nothing_and_a_lost_report_comes_back(here: Path, capsys):
    render()
    first, when = Path("out.mkv").read_bytes(), Path("out.mkv").stat().st_mtime_ns
    Path("out.mkv.vsalign/report.json").unlink()
    assert run(["resume", "out.mkv.vsalign"]) == 0
    assert "finished already" in capsys.readouterr().err
    assert Path("out.mkv").read_bytes() == first and Path("out.mkv").stat().st_mtime_ns == when
    assert last_report()["complete"]


def test_resume_does_not_replace_a_file_that_is_not_the_jobs_own(here: Path, capsys):
    render()
    Path("out.mkv").write_bytes(b"precious")
    assert run(["resume", "out.mkv.vsalign", "--quiet"]) == 2
    assert Path("out.mkv").read_bytes() == b"precious"


def test_status_report_verify_plan_and_doctor_say_what_they_should(here: Path, capsys):
    render("--chunk-frames", "30")
    assert run(["status", "out.mkv.vsalign"]) == 0 and "chunks with a result: 4 of 4" in capsys.readouterr().out
    assert run(["report", "out.mkv.vsalign"]) == 0 and "97 of 100 ref frames" in capsys.readouterr().out
    assert run(["verify", "out.mkv"]) == 0 and "as planned" in capsys.readouterr().out
    Path("out.mkv").write_bytes(Path("ref.mkv").read_bytes())
    assert run(["verify", "out.mkv"]) == 1 and "bytes" in capsys.readouterr().err
    assert run(["plan", "clip.mkv", "ref.mkv", "--chunk-frames", "30"]) == 0 and "[90, 100)" in capsys.readouterr().out
    assert run(["plan", "clip.mkv", "ref.mkv", "--chunk-frames", "30", "--json"]) == 0
    assert [chunk["ref_frames"] for chunk in json.loads(capsys.readouterr().out)["chunks"]][-1] == [90, 100]
    assert run(["doctor"]) == 0 and "libx264" in capsys.readouterr().out


def test_sync_alone_writes_the_map_and_leaves_nothing_else(here: Path, capsys):
    before = sorted(here.iterdir())
    assert run(["sync", "clip.mkv", "ref.mkv", "-o", "map.csv", "--tr", "5"]) == 0
    assert sorted(here.iterdir()) == sorted([*before, here / "map.csv"])
    assert [line.split(",")[1] for line in Path("map.csv").read_text().splitlines()[4:7]] == ["0", "1", "2"]
    assert "97 of 100 ref frames matched" in capsys.readouterr().out


def test_a_job_file_renders_like_the_flags(here: Path):
    Path("JOB.toml").write_text(
        'clip = "clip.mkv"\nref = "ref.mkv"\nout = "toml.mkv"\n[encode]\ncrf = 20\n[run]\npool = "local"\nchunk_frames = 40\n'
    )
    assert run(["render", "JOB.toml", "--quiet"]) == 0
    render("--crf", "20", "--chunk-frames", "40", out="flags.mkv")
    assert Path("toml.mkv").read_bytes() == Path("flags.mkv").read_bytes()


def test_a_truncated_clip_renders_when_allowed(here: Path, capsys):
    data = Path("clip.mkv").read_bytes()
    Path("clip.mkv").write_bytes(data[: len(data) // 2])
    assert run(["render", "clip.mkv", "ref.mkv", "-o", "out.mkv", "--pool", "local", "--allow-truncated", "--no-warp"]) == 0
    assert "truncated" in capsys.readouterr().err
    assert last_report()["matches"]["unmatched_at_end"] > 20


def test_resume_asks_only_for_the_disk_that_is_still_needed(here: Path, monkeypatch: pytest.MonkeyPatch):
    render()
    Path("out.mkv.vsalign/report.json").unlink()
    # The estimate is for ordinary film; these frames are tiny and leave more than it asks for.
    next(Path("out.mkv.vsalign/seg").iterdir()).with_name("more.mkv").write_bytes(bytes(10**7))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    assert run(["resume", "out.mkv.vsalign", "--quiet"]) == 0


def test_names_with_colons_spaces_and_umlauts_are_names(here: Path):
    Path("clip.mkv").rename("Dune: Zwölf #1.mkv")
    command = ["render", "Dune: Zwölf #1.mkv", "ref.mkv", "-o", "Alien: Covenant.mkv", "--pool", "local", "--no-warp", "-q"]
    assert run(command) == 0 and Path("Alien: Covenant.mkv").is_file()


def test_an_output_that_is_a_link_is_followed_and_not_replaced(here: Path):
    Path("big").mkdir()
    Path("out.mkv").symlink_to("big/film.mkv")
    render("--no-warp")
    assert Path("out.mkv").is_symlink() and Path("big/film.mkv").is_file()


def test_a_cleaned_job_resumes_to_nothing(here: Path, capsys: pytest.CaptureFixture[str]):
    render("--no-warp", "--crf", "20")
    render("--no-warp", "--crf", "25", "--clean", "--overwrite")
    assert not list(Path("out.mkv.vsalign/seg").iterdir())
    first = Path("out.mkv").read_bytes()
    assert run(["resume", "out.mkv.vsalign"]) == 0
    assert "finished already" in capsys.readouterr().err
    assert Path("out.mkv").read_bytes() == first and not list(Path("out.mkv.vsalign/seg").iterdir())


def test_a_map_edited_in_place_is_kept_when_it_is_written_again(here: Path, capsys: pytest.CaptureFixture[str]):
    render("--no-warp")
    edited = Path("out.mkv.vsalign/map.csv")
    edited.write_text(edited.read_text() + "mine\n")
    assert run(["resume", "out.mkv.vsalign"]) == 0
    assert "map.before.csv" in capsys.readouterr().err
    assert Path("out.mkv.vsalign/map.before.csv").read_text().endswith("mine\n")


def test_sync_leaves_a_job_directory_alone_that_was_there_before(here: Path):
    render("--no-warp")
    Path("out.mkv").unlink()
    assert run(["sync", "clip.mkv", "ref.mkv", "-o", "out.mkv", "-q"]) == 0
    assert Path("out.mkv.vsalign/seg").is_dir()


def test_a_users_folder_given_as_job_directory_keeps_what_is_in_it(here: Path, capsys: pytest.CaptureFixture[str]):
    Path("mine/tmp").mkdir(parents=True)
    Path("mine/tmp/notes.txt").write_text("precious")
    render("--job", "mine", status=2)
    Path("empty").mkdir()
    write_film(here / "clip.mkv", film(60, seed=9))
    render("--job", "empty", status=2)
    assert Path("mine/tmp/notes.txt").read_text() == "precious" and Path("empty").is_dir()


def test_a_job_killed_while_it_began_can_begin_again(here: Path):
    Path("out.mkv.vsalign/probe").mkdir(parents=True)
    Path("out.mkv.vsalign/.job.json.ab12cd34").write_bytes(b"{")
    render("--no-warp")


def test_a_disk_that_fails_is_one_line(here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    def full(self: object, name: str, data: bytes) -> None:
        raise OSError(28, "No space left on device", name)

    monkeypatch.setattr("tasks.localstore.LocalStore.replace", full)
    render("--no-warp", status=1)
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and "No space left" in lines[0]


def test_status_passes_over_a_torn_line_and_counts_each_chunk_once(here: Path, capsys: pytest.CaptureFixture[str]):
    render("--no-warp", "--chunk-frames", "10")
    render("--no-warp", "--chunk-frames", "50", "--overwrite")
    with Path("out.mkv.vsalign/journal.jsonl").open("a") as journal:
        journal.write('{"time": 1, "sta\n{"time": 2, "what": "x", "item": "y", "attempt": 1}\n')
    capsys.readouterr()
    assert run(["status", "out.mkv.vsalign"]) == 0
    assert "chunks with a result: 2 of 2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("codec", "pixel_format"),
    [("libx265", "yuv420p"), ("libsvtav1", "yuv420p"), ("prores_ks", "yuv422p10le"), ("libx264", "yuv420p10le")],
)
def test_every_codec_makes_a_film_of_many_chunks(here: Path, codec: str, pixel_format: str):
    write_film(here / "clip.mkv", film(40), pixel_format="yuv420p10le" if "10" in pixel_format else "yuv420p")
    write_film(here / "ref.mkv", film(40))
    render("--no-sync", "--no-warp", "--codec", codec, "--chunk-frames", "16")
    out = probe(parse_source("out.mkv"))
    assert out.info.pixel_format == pixel_format and len(out.index) == 40
    assert np.abs(luma_of("out.mkv").astype(int) - luma_of("clip.mkv")).mean() < 3

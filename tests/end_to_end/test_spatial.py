"""The spatial settings in a whole render: windows across chunk borders, masks, what mismatches, and what is made again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from orchestrator.cli import run
from tests.films import film, graded, write_film
from tests.standin import toy_align  # noqa: F401
from vsalign.settings import DEFAULT_SMOOTH_TIME

NUM_FRAMES = 50
#: Cuts of the film at 18 and 36: inside chunks of seven.
SHOT = 18


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    frames = film(NUM_FRAMES, shot=SHOT)
    write_film(folder / "ref.mkv", frames)
    write_film(folder / "clip.mkv", graded(frames))
    masks = np.zeros((30, 32, 48), np.uint8)
    for n in range(30):
        masks[n, :, n : n + 8] = 255
    write_film(folder / "mask.mkv", masks)
    return folder


def render(*arguments: str, out: str = "out.mkv", status: int = 0) -> None:
    fixed = ["--pool", "local", "--quiet", "--codec", "ffv1", "--audio", "none"]
    assert run(["render", "clip.mkv", "ref.mkv", "-o", out, *fixed, *arguments]) == status


def frames_of(path: str) -> list[str]:
    with av.open(path) as container:
        return [hashlib.sha256(frame.to_ndarray().tobytes()).hexdigest() for frame in container.decode(video=0)]


def luma_of(path: str) -> np.ndarray:
    with av.open(path) as container:
        return np.stack([frame.to_ndarray()[: frame.height] for frame in container.decode(video=0)])


def reused(folder: str = "out.mkv.vsalign") -> int:
    stages = json.loads(Path(folder, "report.json").read_text())["stages"]
    return int(next(stage["reused_units"] for stage in stages if stage["name"] == "render"))


def write_map(name: str, **changes: int) -> None:
    """Rows of a map with gaps at and across chunk borders of seven, repeats and a step back; ``r12=3`` changes row 12."""
    rows = {n: n for n in range(NUM_FRAMES)}
    rows |= dict.fromkeys((0, 6, 7, 13, *range(26, 37), 49), -1)
    rows |= {22: 21, 23: 21, 40: 38, 41: 37}
    rows |= {int(row[1:]): frame for row, frame in changes.items()}
    Path(name).write_text("ref_frame,clip_frame\n" + "".join(f"{ref},{clip}\n" for ref, clip in rows.items()))


@pytest.mark.usefixtures("toy_align")
@pytest.mark.parametrize("unmatched", ["hold", "ref"])
@pytest.mark.parametrize("radius", ["1", "5"])
def test_chunks_of_seven_frames_give_the_frames_of_one_chunk_to_the_last_bit(here: Path, unmatched: str, radius: str):
    write_map("map.csv")
    same = ["--frame-map", "map.csv", "--mask", "mask.mkv", "--unmatched", unmatched, "--smooth-time", radius]
    render(*same, "--chunk-frames", "50", out="one.mkv")
    render(*same, "--chunk-frames", "7", out="many.mkv")
    assert frames_of("one.mkv") == frames_of("many.mkv")
    assert len(list(Path("many.mkv.vsalign/seg").iterdir())) == 8


def test_chunks_of_seven_frames_give_the_frames_of_one_chunk_with_the_real_estimator(here: Path):
    write_map("map.csv")
    same = ["--frame-map", "map.csv", "--mask", "mask.mkv", "--smooth-time", "3", "--precision", "1", "--mismatch", "ref"]
    render(*same, "--chunk-frames", "50", out="one.mkv")
    render(*same, "--chunk-frames", "7", out="many.mkv")
    assert frames_of("one.mkv") == frames_of("many.mkv")


@pytest.mark.usefixtures("toy_align")
def test_the_radius_and_the_mask_change_the_film(here: Path):
    made = []
    for number, changed in enumerate(((), ("--smooth-time", "0"), ("--smooth-time", "2"), ("--mask", "mask.mkv"))):
        render("--no-sync", *changed, out=f"{number}.mkv")
        made.append(tuple(frames_of(f"{number}.mkv")))
    assert len(set(made)) == 4


@pytest.mark.usefixtures("toy_align")
@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (("--smooth-time", "2"), f"(align.smooth_time {DEFAULT_SMOOTH_TIME} -> 2)"),
        (("--smooth-time", "0"), f"(align.smooth_time {DEFAULT_SMOOTH_TIME} -> 0)"),
        (("--mask", "mask.mkv"), "(mask none -> "),
        (("--mismatch", "black"), "(align.mismatch keep -> black)"),
        (("--wide-search",), "(align.wide_search False -> True)"),
        (("--lq-input",), "(align.lq_input False -> True)"),
        (("--iterations", "2"), "(align.iterations 1 -> 2)"),
        (("--engine", "rife"), "(align.engine dense -> rife, weights none -> 5eed)"),
    ],
)
def test_a_changed_setting_makes_every_chunk_stale_and_says_why(here, capsys, monkeypatch, changed, why):
    monkeypatch.setattr(
        "orchestrator.preflight.find_rife_weights", lambda align: ("", "5eed") if align.engine == "rife" else ("", "")
    )
    render("--no-sync", "--chunk-frames", "20")
    loud = ["render", "clip.mkv", "ref.mkv", "-o", "out.mkv", "--pool", "local", "--codec", "ffv1", "--audio", "none"]
    assert run([*loud, "--no-sync", "--chunk-frames", "20", "--overwrite", *changed]) == 0
    said = capsys.readouterr().err
    assert f"stale 3 {why}" in said, said


@pytest.mark.usefixtures("toy_align")
def test_another_mask_makes_chunks_stale_and_the_same_one_elsewhere_does_not(here: Path):
    render("--no-sync", "--chunk-frames", "20", "--mask", "mask.mkv")
    Path("mask.mkv").rename("moved.mkv")
    render("--no-sync", "--chunk-frames", "20", "--mask", "moved.mkv", "--overwrite")
    assert len(list(Path("out.mkv.vsalign/seg").iterdir())) == 3
    write_film(here / "moved.mkv", film(3, 64, 48))
    render("--no-sync", "--chunk-frames", "20", "--mask", "moved.mkv", "--overwrite")
    assert reused() == 0


@pytest.mark.usefixtures("toy_align")
def test_an_edited_row_makes_the_chunks_again_that_show_it_or_look_at_it(here: Path, capsys: pytest.CaptureFixture[str]):
    write_map("map.csv")
    same = ["--chunk-frames", "10", "--smooth-time", "3"]
    render(*same, "--frame-map", "map.csv")
    capsys.readouterr()
    for number, (changes, again) in enumerate((({"r15": 14}, 1), ({"r18": 17}, 2), ({"r20": 19}, 2), ({"r49": 49}, 1))):
        write_map("other.csv", **changes)
        loud = ["render", "clip.mkv", "ref.mkv", "-o", "out.mkv", "--pool", "local", "--codec", "ffv1", "--audio", "none"]
        assert run([*loud, *same, "--frame-map", "other.csv", "--overwrite"]) == 0
        said = capsys.readouterr().err
        assert f"reused {5 - again} chunks, stale {again} (frame map" in said, (changes, said)
        render(*same, "--frame-map", "other.csv", out=f"fresh{number}.mkv")
        assert frames_of("out.mkv") == frames_of(f"fresh{number}.mkv")


@pytest.mark.usefixtures("toy_align")
def test_a_resumed_job_has_its_mask_and_its_settings(here: Path, monkeypatch: pytest.MonkeyPatch):
    render("--no-sync", "--mask", "mask.mkv", "--smooth-time", "2", "--chunk-frames", "25")
    first = frames_of("out.mkv")
    Path("out.mkv").unlink()
    next(Path("out.mkv.vsalign/seg").glob("render-00001*")).unlink()
    elsewhere = here / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert run(["resume", str(here / "out.mkv.vsalign"), "--quiet"]) == 0
    assert frames_of(str(here / "out.mkv")) == first


def with_logo(frames: np.ndarray) -> np.ndarray:
    """A station's logo over rows 30 to 70 and columns 110 to 170."""
    frames = frames.copy()
    frames[:, 30:70, 110:170] = 250
    frames[:, 40:60:5, 120:160] = 5
    return frames


@pytest.fixture
def marked(here: Path) -> tuple[np.ndarray, tuple[slice, slice, slice]]:
    """The ref's luma where the clip carries a logo, and the inside of the logo."""
    ref = film(8, 192, 128, shot=20)
    write_film(here / "ref.mkv", ref, codec="ffv1", crf=None)
    write_film(here / "clip.mkv", with_logo(graded(ref, (0, 0))), codec="ffv1", crf=None)
    logo = np.full((128, 192), 0, np.uint8)
    logo[30:70, 110:170] = 255
    cv2.imwrite("logo.png", logo)
    inside = (slice(None), slice(33, 67), slice(113, 167))
    return luma_of("ref.mkv").astype(int), inside


@pytest.mark.parametrize("show", ["ref", "black", "white", "keep"])
def test_where_a_logo_hides_the_clip_the_output_shows_what_was_asked(here: Path, marked, show: str):
    ref, inside = marked
    render("--no-sync", "--mask", "logo.png", "--mismatch", show)
    out = luma_of("out.mkv").astype(int)
    if show == "keep":
        assert np.abs(out[inside] - ref[inside]).mean() > 40
    else:
        wanted = ref[inside] if show == "ref" else {"black": 16, "white": 235}[show]
        assert np.abs(out[inside] - wanted).mean() < 3
    render("--no-sync", "--mask", "logo.png", out="plain.mkv")
    same = out == luma_of("plain.mkv").astype(int)
    assert same.all() if show == "keep" else 0.5 < same.mean() < 0.95


def test_the_report_tells_of_confidence_mismatch_wide_search_and_radius(here: Path, marked, capsys):
    render("--no-sync", "--mismatch", "white", "--wide-search", "--smooth-time", "2", "--chunk-frames", "5")
    found = json.loads(Path("out.mkv.vsalign/report.json").read_text())["alignment"]
    assert (found["frames"], found["smooth_time"], found["mismatch"]) == (8, 2, "white")
    assert 0 < found["mean_confidence"] <= 1 and 0.01 < found["mismatched_share"] < 0.5
    assert 0 <= found["wide_search_found"] <= 8
    text = Path("out.mkv.vsalign/report.txt").read_text()
    for words in ("mean confidence", "steadied over 2 frames", "pixels mismatched, shown as: white", "wide search found"):
        assert words in text
    assert run(["resume", "out.mkv.vsalign", "--quiet"]) == 0
    assert json.loads(Path("out.mkv.vsalign/report.json").read_text())["alignment"] == found


def test_a_plan_names_the_halo_and_writes_nothing(here: Path, capsys: pytest.CaptureFixture[str]):
    before = sorted(here.iterdir())
    command = ["plan", "clip.mkv", "ref.mkv", "--chunk-frames", "20", "--smooth-time", "6", "--tr", "1"]
    assert run(command) == 0
    assert "observes up to 6 ref frames on each side" in capsys.readouterr().out
    assert run([*command, "--json"]) == 0
    chunks = json.loads(capsys.readouterr().out)["chunks"]
    assert [chunk["observed_ref_frames"] for chunk in chunks] == [[0, 26], [14, 46], [34, 50]]
    assert [chunk["clip_frames"] for chunk in chunks] == [[0, 27], [13, 47], [33, 50]]
    assert run([*command, "--no-warp"]) == 0 and "observes" not in capsys.readouterr().out
    assert sorted(here.iterdir()) == before

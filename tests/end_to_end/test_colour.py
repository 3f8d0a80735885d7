"""HDR and turned films through the whole walk: the output has the clip's brightness and the ref's geometry."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

import tasks.encode
import tasks.render
from orchestrator.cli import run
from tasks.colourcheck import bitstream_hdr
from tasks.probe import parse_source, probe
from tests.films import film, graded, write_film
from tests.hdrfilm import HDR10, P3_DISPLAY, P3_NUMBERS, ffprobe, numbers, side_data, write_hdr10
from vsalign.picture import ColourTags

FRAMES, OFFSET = 48, 3


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    frames = film(FRAMES, shot=12)
    write_film(folder / "ref.mkv", frames)
    write_hdr10(folder / "clip.mkv", graded(frames)[OFFSET:])
    write_hdr10(folder / "hlg.mkv", graded(frames)[OFFSET:], transfer=18)
    write_film(folder / "sdr.mkv", graded(frames)[OFFSET:])
    write_hdr10(folder / "turned.mkv", np.rot90(graded(frames)[OFFSET:], 1, (1, 2)), rotation=90)
    return folder


def render(clip: str, ref: str, out: str, *arguments: str) -> None:
    assert run(["render", clip, ref, "-o", out, "--pool", "local", "--quiet", *arguments]) == 0


def matches(out: str) -> list[str]:
    return [line.split(",")[1] for line in Path(f"{out}.vsalign/map.csv").read_text().splitlines()[1:]]


FAST = {"libx264": "ultrafast", "libx265": "ultrafast", "libsvtav1": "13"}


@pytest.mark.parametrize(
    ("codec", "container"),
    [*((codec, container) for codec in FAST for container in ("mkv", "mp4")), ("ffv1", "mkv"), ("prores_ks", "mov")],
)
def test_hdr10_survives_in_bitstream_and_container(here: Path, codec: str, container: str) -> None:
    out = f"out.{container}"
    preset = ("--preset", FAST[codec]) if codec in FAST else ()
    render("clip.mkv", "ref.mkv", out, "--codec", codec, "--no-warp", "--no-sync", "--chunk-frames", "24", *preset)
    info = probe(parse_source(out)).info
    assert (info.colour.primaries, info.colour.transfer, info.colour.matrix, info.colour.range) == (9, 16, 9, 1)
    assert info.hdr.mastering and info.hdr.mastering.steps() == P3_DISPLAY.steps() and info.bit_depth >= 10
    if codec in FAST:
        told = bitstream_hdr(out)
        assert told.mastering and (told.mastering.steps(), told.max_cll) == (P3_DISPLAY.steps(), HDR10.max_cll)
    stream = ffprobe(out)
    assert numbers(side_data(stream, "Mastering display metadata")) == pytest.approx(P3_NUMBERS)
    assert numbers(side_data(stream, "Content light level metadata")) == {"max_content": 1000, "max_average": 400}
    if codec in ("libx265", "libsvtav1"):  # Debian's FFmpeg 5 does not read it from H.264
        frame = ffprobe(out, "-show_frames", "-read_intervals", "%+#1")
        assert numbers(side_data(frame, "Mastering display metadata")) == pytest.approx(P3_NUMBERS, rel=1e-2)


def test_hdr_and_sdr_of_one_film_find_each_other_and_lie_on_each_other(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("clip", "hlg", "sdr"):
        assert run(["render", f"{name}.mkv", "ref.mkv", "-o", f"{name}-out.mkv", "--pool", "local", "--codec", "ffv1"]) == 0
        assert matches(f"{name}-out.mkv")[OFFSET:] == [str(n) for n in range(FRAMES - OFFSET)]
    said = capfd.readouterr().err
    assert "clip is HDR (PQ) and ref is SDR" in said and "clip is HDR (HLG) and ref is SDR" in said
    ref = luma_of("ref.mkv")[OFFSET:]
    for name in ("clip", "hlg", "sdr"):
        before, after = similarity(luma_of(f"{name}.mkv"), ref), similarity(luma_of(f"{name}-out.mkv")[OFFSET:], ref)
        assert before < 0.97 and after > 0.985


def test_a_turned_clip_is_laid_on_an_upright_ref(here: Path) -> None:
    render("clip.mkv", "ref.mkv", "upright.mkv", "--codec", "ffv1")
    render("turned.mkv", "ref.mkv", "out.mkv", "--codec", "ffv1")
    info = probe(parse_source("out.mkv")).info
    assert (info.width, info.height, info.rotation_degrees) == (96, 64, 0)
    assert matches("out.mkv") == matches("upright.mkv")
    assert similarity(luma_of("out.mkv")[OFFSET:], luma_of("ref.mkv")[OFFSET:]) > 0.985


@pytest.mark.parametrize("container", ["mkv", "mp4"])
def test_a_turned_ref_gives_a_turned_output(here: Path, container: str) -> None:
    """The ref stored lying on its side, as phones store: the upright clip is brought to how it lies."""
    with av.open("ref.mkv") as source, av.open("lying.mp4", "w") as target:
        copy = target.add_stream_from_template(source.streams.video[0], opaque=True)
        copy.set_display_rotation(-270)
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = copy
                target.mux(packet)
    out = f"out.{container}"
    render("turned.mkv", "lying.mp4", out, "--no-warp", "--no-sync")
    info = probe(parse_source(out)).info
    assert (info.width, info.height, info.rotation_degrees) == (96, 64, 270)


def luma_of(path: str) -> np.ndarray:
    with av.open(path) as container:
        frames = [frame.to_ndarray() for frame in container.decode(video=0)]
        height = container.streams.video[0].height
    return np.stack([frame[:height].astype(float) for frame in frames])


def similarity(one: np.ndarray, other: np.ndarray) -> float:
    pairs = zip(one[:, 8:-8, 8:-8], other[:, 8:-8, 8:-8], strict=True)
    return float(np.mean([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairs]))


def test_segments_and_a_film_of_the_wrong_colour_are_found_before_anything_is_published(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ["render", "sdr.mkv", "ref.mkv", "-o", "wrong.mkv", "--pool", "local", "--no-sync", "--no-warp", "--crf", "30"]
    monkeypatch.setattr(tasks.encode, "output_colour", lambda *_: ColourTags(9, 16, 9, 1, 1))
    assert run(given) == 1
    assert "its picture is primaries 9" in capsys.readouterr().err and not Path("wrong.mkv").exists()
    monkeypatch.setattr(tasks.render, "colour_problems", lambda *_: ())
    assert run(given) == 1
    said = capsys.readouterr().err
    assert "the joined film's picture is not as planned: primaries 9" in said and not Path("wrong.mkv").exists()


def test_a_film_for_the_web_has_its_index_first_and_is_as_planned(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    render("sdr.mkv", "ref.mkv", "web.mp4", "--preset", "web", "--no-sync", "--no-warp")
    data = Path("web.mp4").read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")
    assert run(["verify", "web.mp4"]) == 0, capsys.readouterr().err

"""``--audio clip`` through the whole walk: clicks in the output, what is copied, what is made once and reused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from orchestrator.cli import run
from tests.clicks import Track, click_track, heard, onsets, with_sound
from tests.editlist import set_edits
from tests.films import film, write_film

NUM, CLIP = 120, 160
N = np.arange(NUM)
CLICKS = np.array([0, 7, 19, 30, 40, 50, 61, 70, 79, 88, 100, 110, 121, 131, 140, 150])
CUT = np.where(N < 50, N, np.where(N < 80, -1, N - 30))
#: Its first piece is that of CUT.
LONGER_CUT = np.where(N < 50, N, np.where(N < 90, -1, N - 40))


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    frames = film(CLIP)
    write_film(folder / "ref.mkv", frames[:NUM])
    write_film(folder / "ref-late.mkv", frames[:NUM], pts=1000 + np.round(N * 1000 / 24).astype(np.int64))
    for rate in (24, 25):
        write_film(folder / f"clip{rate}.mkv", frames, pts=np.round(np.arange(CLIP) * 1000 / rate).astype(np.int64))
    return folder


def make_clip(rate: int, tracks: Sequence[Track] = (Track(),)) -> None:
    click_track(Path("sound.mkv"), CLIP / rate, CLICKS / rate, tracks)
    with_sound(Path(f"clip{rate}.mkv"), Path("sound.mkv"), Path("clip.mkv"))


def render(rows: npt.NDArray[np.int64], *arguments: str, out: str = "out.mkv", ref: str = "ref.mkv") -> None:
    lines = [f"{n},{row if row >= 0 else ''}" for n, row in enumerate(rows)]
    Path("map.csv").write_text("\n".join(["ref_frame,clip_frame", *lines]) + "\n")
    fixed = ["--pool", "local", "--no-warp", "--audio", "clip", "--frame-map", "map.csv", "--preset", "ultrafast"]
    assert run(["render", "clip.mkv", ref, "-o", out, *fixed, *arguments]) == 0


def check_clicks(rows: npt.NDArray[np.int64], out: str = "out.mkv", number: int = 0) -> None:
    """Each click within 10 ms of the picture that it belongs to, by the output's own times; and no other."""
    with av.open(out) as container:
        shown = [float(frame.time) for frame in container.decode(video=0) if frame.time is not None]
    wanted = np.array(shown)[np.isin(rows, CLICKS)]
    sound, rate = heard(Path(out), number)
    for channel in sound:
        found = onsets(channel, rate)
        assert len(found) == len(wanted) and np.abs(found - np.sort(wanted)).max() < 0.010


def packets_of(path: str) -> list[bytes]:
    with av.open(path) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def last_report() -> dict:
    return json.loads(Path("out.mkv.vsalign/report.json").read_text())


@pytest.mark.parametrize("out", ["out.mkv", "out.mp4", "out.mov"])
@pytest.mark.parametrize("ref", ["ref.mkv", "ref-late.mkv"])
def test_cut_rate_and_start_are_followed(here: Path, out: str, ref: str):
    make_clip(25, [Track("aac", language="eng"), Track(rate=44100, layout="mono", language="fre")])
    render(CUT, "--quiet", out=out, ref=ref)
    check_clicks(CUT, out, 0)
    check_clicks(CUT, out, 1)
    with av.open(out) as container:
        assert [s.metadata["language"] for s in container.streams.audio] == ["eng", "fra" if out.endswith("mov") else "fre"]


@pytest.mark.parametrize("ending", ["mkv", "mp4"])
def test_a_plain_offset_is_a_copy_of_the_packets(here: Path, ending: str):
    make_clip(24, [Track("aac")])
    render(N + 7, "--quiet", out=f"out.{ending}")
    check_clicks(N + 7, f"out.{ending}")
    sent, got = packets_of("clip.mkv"), packets_of(f"out.{ending}")
    at = sent.index(got[0])
    assert sent[at : at + len(got)] == got
    assert len(got) == pytest.approx(5 * 48000 / 1024, abs=8), "what lies beyond the film's ends is left out"
    assert not Path(f"out.{ending}.vsalign/sound").exists()


def test_a_clip_that_starts_late_is_copied_and_one_whose_ends_are_not_wanted_is_not(here: Path):
    make_clip(24)
    late = np.where(N >= 40, N - 40, -1)
    render(late, "--quiet")
    check_clicks(late)
    assert last_report()["sound"] == "clip's audio: copied as it is, 1.667 s later"
    within = np.where((N >= 40) & (N < 90), N - 20, -1)
    render(within, "--quiet", "--overwrite")
    check_clicks(within)
    assert last_report()["sound"] == "clip's audio: 1 piece, 2.9 s silence"


def test_what_was_done_is_said_and_done_once(here: Path, capsys: pytest.CaptureFixture[str]):
    make_clip(25)
    render(CUT)
    said = "clip's audio: 2 pieces, rate 0.960000 resampled, 1.2 s silence"
    assert last_report()["sound"] == said and f"audio     {said}" in capsys.readouterr().out
    first = Path("out.mkv").read_bytes()
    Path("out.mkv").unlink()
    assert run(["resume", "out.mkv.vsalign"]) == 0
    assert "sound: reused 1" in capsys.readouterr().err and Path("out.mkv").read_bytes() == first
    (torn,) = Path("out.mkv.vsalign/sound").glob("*.mkv")
    torn.write_bytes(torn.read_bytes()[:1000])
    Path("out.mkv").unlink()
    assert run(["resume", "out.mkv.vsalign"]) == 0
    assert "sound: reused 0 soundtracks, lost 1" in capsys.readouterr().err and Path("out.mkv").read_bytes() == first


def test_another_map_is_other_sound_and_clean_leaves_none(here: Path, capsys: pytest.CaptureFixture[str]):
    make_clip(25)
    render(CUT, "--quiet")
    render(LONGER_CUT, "--quiet", "--overwrite")
    check_clicks(LONGER_CUT)
    assert len(list(Path("out.mkv.vsalign/sound").glob("*.mkv"))) == 2
    assert run(["resume", "out.mkv.vsalign"]) == 0 and "finished already" in capsys.readouterr().err
    render(LONGER_CUT, "--quiet", "--overwrite", "--clean")
    assert not list(Path("out.mkv.vsalign/sound").iterdir())


def test_a_codec_that_the_container_cannot_hold_is_encoded_anew(here: Path):
    make_clip(24, [Track("wavpack", 44100)])
    render(N + 7, "--quiet", out="out.mp4")
    check_clicks(N + 7, "out.mp4")


def test_sound_that_can_neither_be_copied_nor_laid_is_refused_before_anything_is_rendered(
    here: Path, capsys: pytest.CaptureFixture[str]
):
    """No frame matches, so that there is no plan by which to encode it anew."""
    make_clip(24, [Track("wavpack", 44100)])
    Path("map.csv").write_text("\n".join(["ref_frame,clip_frame", *(f"{n}," for n in range(NUM))]) + "\n")
    fixed = ["--pool", "local", "--no-warp", "--audio", "clip", "--frame-map", "map.csv", "--preset", "ultrafast"]
    assert run(["render", "clip.mkv", "ref.mkv", "-o", "out.mp4", *fixed]) == 2
    said = capsys.readouterr().err
    assert "clip.mkv cannot be copied into it as it is, and too few frames match" in said
    assert not list(Path("out.mp4.vsalign").glob("seg/*"))
    assert run(["render", "clip.mkv", "ref.mkv", "-o", "out.mkv", *fixed, "--quiet"]) == 0, "there the packets go as they are"


def test_sound_of_a_clip_that_an_edit_list_cuts_is_encoded_anew(here: Path):
    click_track(Path("sound.mp4"), CLIP / 24, CLICKS / 24, [Track("aac")])
    with av.open("sound.mp4") as sound, av.open("clip24.mkv") as picture, av.open("clip.mp4", "w") as out:
        copies = [out.add_stream_from_template(s, opaque=True) for s in (sound.streams.audio[0], picture.streams.video[0])]
        for source, copy in zip((sound.demux(audio=0), picture.demux(video=0)), copies, strict=True):
            for packet in source:
                if packet.size:
                    packet.stream = copy
                    out.mux(packet)
    rows = (N + 7).tolist()
    lines = [f"{n},{row}" for n, row in enumerate(rows)]
    Path("map.csv").write_text("\n".join(["ref_frame,clip_frame", *lines]) + "\n")
    fixed = ["--pool", "local", "--no-warp", "--audio", "clip", "--frame-map", "map.csv", "--preset", "ultrafast", "--quiet"]
    priming = 1024 / 48000
    for edits, copied in (([(6.0, priming)], True), ([(2.0, priming), (3.0, priming + 3.0)], False)):
        set_edits(Path("clip.mp4"), edits)
        assert run(["render", "clip.mp4", "ref.mkv", "-o", "out.mkv", *fixed, "--overwrite"]) == 0
        assert ("copied as it is" in last_report()["sound"]) == copied

"""Presets named after a use: what they fill in, what they leave to the user, and what comes out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from orchestrator.config import job_config, load_job_file
from orchestrator.flags import config_of
from tasks.codecs import encoder_options
from tasks.encode import check_output, choose_pixel_format
from tasks.messages import EncodeSettings, Source
from tasks.presets import container_options, settled, software_settings, wanted_format
from tasks.probe import probe
from tests.synth import picture_hash
from tests.tasks.test_encode import VIDEO, encoded, pictures_of, sequence
from vsalign.errors import InputError
from vsalign.picture import ColourTags

OPEN = EncodeSettings(codec="")
SDR, PQ, HLG = ColourTags(1, 1, 1, 1, 1), ColourTags(9, 16, 9, 1, 1), ColourTags(9, 18, 9, 1, 1)


def pixel_format(preset: str, clip_format: str, colour: ColourTags = SDR, **given: object) -> str:
    how = settled(replace(OPEN, **given), preset)
    return choose_pixel_format(how.codec, wanted_format(how, preset, clip_format, colour)[0])[0]


def test_without_a_preset_the_default_codec_is_used() -> None:
    assert settled(OPEN, "") == EncodeSettings(codec="libx264")
    assert settled(replace(OPEN, codec="libsvtav1"), "6") == EncodeSettings(codec="libsvtav1", preset="6")


@pytest.mark.parametrize(
    "clip_format", ["yuv420p", "yuv422p10le", "yuv444p12le", "gray10le", "gbrp", "gbrp12le", "yuv420p16le", "yuv411p"]
)
def test_archive_keeps_the_clip_s_own_format(clip_format: str) -> None:
    assert settled(OPEN, "archive").codec == "ffv1"
    assert pixel_format("archive", clip_format) == clip_format


@pytest.mark.parametrize("name", ["yuv420p", "gbrp", "gray12le", "yuv444p16le"])
def test_archive_gives_back_every_sample(tmp_path: Path, name: str) -> None:
    sent = sequence(0, 3, name)
    encoded(tmp_path / "s.mkv", sent, settled(OPEN, "archive"), name=pixel_format("archive", name))
    assert [picture_hash(p) for p in pictures_of(tmp_path / "s.mkv")] == [picture_hash(p) for p in sent]


@pytest.mark.parametrize(
    ("clip_format", "made", "tag"),
    [("yuv420p", "yuv422p10le", b"apch"), ("yuv422p10le", "yuv422p10le", b"apch"), ("gbrp", "yuv444p10le", b"ap4h")],
)
def test_master_is_prores_of_the_profile_that_holds_the_chroma(tmp_path: Path, clip_format: str, made: str, tag: bytes) -> None:
    how = settled(OPEN, "master")
    assert (how.codec, pixel_format("master", clip_format)) == ("prores_ks", made)
    encoded(tmp_path / "s.mkv", sequence(0, 2, clip_format), how, name=made)
    assert tag in (tmp_path / "s.mkv").read_bytes()
    with pytest.raises(InputError, match=r"out.mp4: mp4 cannot hold prores_ks; .mkv and .mov can"):
        check_output("prores_ks", "out.mp4", 64, 64, made, how)
    check_output("prores_ks", "out.mov", 64, 64, made, how)


def test_web_is_eight_bit_h264_that_can_be_sought_in(tmp_path: Path) -> None:
    how = settled(OPEN, "web")
    assert (how.codec, how.crf, how.preset, pixel_format("web", "yuv444p12le")) == ("libx264", 18, "slow", "yuv420p")
    encoded(tmp_path / "s.mkv", sequence(0, 130) * 2, replace(how, preset="ultrafast"), name="yuv420p")
    keys = np.flatnonzero(probe(Source(str(tmp_path / "s.mkv"))).index.keyframe)
    assert np.diff([*keys, 260]).max() <= 120
    assert np.diff([*keys, 260]).max() / float(VIDEO.rate) < 5.01
    assert container_options("web", "mp4") == container_options("web", "mov") == {"movflags": "+faststart"}
    assert not container_options("web", "matroska") and not container_options("archive", "mp4")


def test_what_the_user_gave_wins() -> None:
    how = settled(
        EncodeSettings(codec="libx265", crf=24.0, options=(("g", "48"),), pixel_format="yuv420p10le", threads=4), "web"
    )
    assert how == EncodeSettings("libx265", 24.0, "slow", (("g", "48"),), "yuv420p10le", 4)
    assert pixel_format("web", "yuv420p", codec="libx265", pixel_format="yuv420p10le") == "yuv420p10le"
    assert pixel_format("archive", "yuv422p10le", pixel_format="yuv422p") == "yuv422p"


@pytest.mark.parametrize(
    ("preset", "given", "line"),
    [
        (
            "archive",
            {"codec": "libx264"},
            "--preset archive and --codec libx264 do not go together; accepted with archive: ffv1",
        ),
        ("master", {"codec": "libx265"}, "accepted with master: prores_ks"),
        ("web", {"codec": "ffv1"}, "accepted with web: libx264, libx265, libsvtav1"),
    ],
)
def test_a_codec_of_another_use_is_refused_in_one_line(preset: str, given: dict[str, object], line: str) -> None:
    with pytest.raises(InputError) as caught:
        settled(replace(OPEN, **given), preset)
    assert line in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(InputError) as caught:
        job_config({"clip": "a.mkv", "ref": "b.mkv", "out": "c.mkv", "encode": {"preset": preset, **given}}, "JOB.toml")
    assert line in str(caught.value)


def test_quality_of_a_lossless_preset_is_refused() -> None:
    with pytest.raises(InputError, match="crf 20 means nothing to ffv1"):
        encoder_options(settled(replace(OPEN, crf=20.0), "archive"))


@pytest.mark.parametrize("colour", [PQ, HLG])
def test_an_hdr_clip_is_not_made_eight_bit_by_a_preset(colour: ColourTags) -> None:
    with pytest.raises(InputError, match=r"the clip is HDR .*accepted: --codec libx265 or libsvtav1"):
        pixel_format("web", "yuv420p10le", colour)
    how = settled(replace(OPEN, codec="libx265"), "web")
    wanted, notice = wanted_format(how, "web", "yuv420p10le", colour)
    assert wanted == "yuv420p10le" and "clip is HDR" in notice and "\n" not in notice
    assert pixel_format("web", "yuv420p10le", colour, pixel_format="yuv420p") == "yuv420p"
    assert pixel_format("archive", "yuv420p10le", colour) == "yuv420p10le"


def test_a_job_file_and_flags_say_the_same(tmp_path: Path) -> None:
    job = tmp_path / "JOB.toml"
    job.write_text('clip = "a.mkv"\nref = "b.mkv"\nout = "c.mp4"\n[encode]\npreset = "web"\ncrf = 21\n')
    by_file = job_config(load_job_file(job), "JOB.toml").encode
    by_flags = config_of({"clip": "a.mkv", "ref": "b.mkv", "out": "c.mp4", "preset": "web", "crf": 21.0}).encode
    assert by_file == by_flags and by_file.settings().crf == 21 and by_file.settings().preset == "slow"
    # and so does what a job directory keeps of it
    again = job_config({"clip": "a", "ref": "b", "out": "c.mp4", "encode": by_file.model_dump(mode="json")}, "job.json").encode
    assert again.settings() == by_file.settings()


@pytest.mark.parametrize(
    ("codec", "crf", "preset", "found"),
    [
        ("h264_nvenc", None, "", ("libx264", None, "")),
        ("hevc_nvenc", 20.5, "p7", ("libx265", 20.5, "veryslow")),
        ("av1_nvenc", 30.4, "p4", ("libsvtav1", 30.0, "8")),
        ("h264_nvenc", None, "web", ("libx264", None, "web")),
    ],
)
def test_a_hardware_encoder_s_settings_fit_the_one_in_its_place(
    codec: str, crf: float | None, preset: str, found: tuple[str, float | None, str]
) -> None:
    stand_in = software_settings(codec, crf, preset, {})
    assert stand_in == found
    encoder_options(settled(EncodeSettings(codec=stand_in[0], crf=stand_in[1]), stand_in[2]))


def test_options_of_the_hardware_alone_have_no_stand_in() -> None:
    with pytest.raises(InputError, match=r"its options \(spatial-aq\) mean nothing to libx264"):
        software_settings("h264_nvenc", None, "", {"spatial-aq": "1"})
    with pytest.raises(InputError, match="unknown preset 'slow' for h264_nvenc; known are p1, p2"):
        software_settings("h264_nvenc", None, "slow", {})

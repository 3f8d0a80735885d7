"""What each encoder can hold, proven by encoding it: 8, 10, 12 and 16 bits, gray, RGB, all chroma resolutions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import pytest

from tasks.builds import encoder_version, ffmpeg_version, signed_encoders
from tasks.codecs import check_profile
from tasks.encode import check_output, choose_pixel_format
from tasks.formats import planar_format
from tasks.messages import EncodeSettings, Source
from tasks.packing import packed
from tasks.probe import probe
from tests.synth import picture_hash, shown_number
from tests.tasks.test_encode import VIDEO, encoded, pictures_of, sequence, settings
from vsalign.errors import InputError

#: What FFmpeg's decoders make of it, where that is something else: no samples differ but for the 12 bits of ProRes 4444.
_READ_AS = {
    ("libx264", "gray"): "yuv420p",
    ("libx264", "gray10le"): "yuv420p10le",
    ("prores_ks", "yuv444p10le"): "yuv444p12le",
}


@pytest.mark.parametrize(
    ("codec", "name"),
    [
        *(("libx264", n) for n in ("yuv420p10le", "yuv422p10le", "yuv444p", "gray", "gray10le")),
        *(("libx265", n) for n in ("yuv420p12le", "yuv422p10le", "yuv444p12le", "gray12le", "gbrp10le")),
        ("libsvtav1", "yuv420p10le"),
        *(("prores_ks", n) for n in ("yuv422p10le", "yuv444p10le")),
        *(("ffv1", n) for n in ("gray16le", "gbrp", "gbrp16le", "yuv420p14le", "yuv440p12le", "yuv410p")),
    ],
)
def test_a_format_that_is_accepted_comes_out_of_the_file(tmp_path: Path, codec: str, name: str) -> None:
    chosen, notice = choose_pixel_format(codec, name)
    assert (chosen, notice) == (name, "")
    encoded(tmp_path / "s.mkv", sequence(40, 43, name), settings(codec), name=name)
    found = planar_format(probe(Source(str(tmp_path / "s.mkv"))).info.pixel_format).name
    assert found == _READ_AS.get((codec, name), name)
    assert [shown_number(p) for p in pictures_of(tmp_path / "s.mkv")] == [40, 41, 42]


def test_rgb_of_eight_bits_goes_into_ffv1_as_it_is(tmp_path: Path) -> None:
    """FFV1 takes it packed alone; nine bits, the next wider, are read by few."""
    assert choose_pixel_format("ffv1", "rgb24") == ("gbrp", "")
    sent = sequence(0, 2, "gbrp", 66, 34)
    frame = packed(sent[0], "bgr0")
    assert frame.format.name == "bgr0"
    encoded(tmp_path / "s.mkv", sent, settings("ffv1"), replace(VIDEO, width=66, height=34), name="gbrp")
    with av.open(str(tmp_path / "s.mkv")) as film:
        assert film.streams.video[0].codec_context.pix_fmt == "bgr0"
    assert [picture_hash(p) for p in pictures_of(tmp_path / "s.mkv")] == [picture_hash(p) for p in sent]


@pytest.mark.parametrize(
    ("profile", "name", "line"),
    [
        ("hq", "yuv444p10le", "prores profile hq holds yuv422p10le and the pictures are yuv444p10le"),
        ("4444", "yuv422p10le", "prores profile 4444 holds yuv444p10le and the pictures are yuv422p10le"),
        ("4444", "yuv444p10le", ""),
        ("proxy", "yuv422p10le", ""),
        ("", "yuv444p10le", ""),
    ],
)
def test_a_prores_profile_of_the_other_chroma_is_refused(profile: str, name: str, line: str) -> None:
    how = EncodeSettings(codec="prores_ks", preset=profile)
    if not line:
        check_output("prores_ks", "out.mov", 64, 64, name, how)
        return
    with pytest.raises(InputError, match=line) as caught:
        check_profile(how, planar_format(name))
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=line):
        check_output("prores_ks", "out.mov", 64, 64, name, how)


def test_the_builds_behind_the_wheel_tell_their_versions() -> None:
    assert ffmpeg_version().startswith(str(av.ffmpeg_version_info)) and "libavcodec 6" in ffmpeg_version()
    assert encoder_version("libx264").startswith("core 1")
    assert encoder_version("libx265").startswith("(build ")
    assert encoder_version("libsvtav1").startswith("v")
    assert encoder_version("ffv1") == encoder_version("h264_nvenc") == ""
    assert set(signed_encoders()) == {"libx264", "libx265", "libsvtav1"}

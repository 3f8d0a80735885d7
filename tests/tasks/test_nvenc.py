"""NVENC where there is none: what its refusals mean, what waits for it, what it is given."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter

from orchestrator.state import Cause, cause_of
from tasks import encode
from tasks.builds import why_not
from tasks.codecs import encoder_options
from tasks.codectable import CODECS
from tasks.encode import SegmentWriter, check_output, choose_pixel_format
from tasks.errors import EncoderBusy, EncoderMissing
from tasks.memory import shortage_of
from tasks.messages import EncodeSettings
from tasks.nvenc import is_hardware, refusal, when_free
from tasks.openfilm import captured_log
from tasks.packing import packed, planar
from tasks.pictures import picture_of
from tasks.refusal import storage_error_of
from tests.synth import picture_hash
from tests.tasks.test_encode import VIDEO, sequence
from vsalign.errors import InputError

NVENC = tuple(codec for codec in CODECS if is_hardware(codec))
HAS_NVENC = not why_not("h264_nvenc")
without_nvenc = pytest.mark.skipif(HAS_NVENC, reason="this machine has NVENC")


@pytest.mark.parametrize(
    ("log", "kind"),
    [
        (["OpenEncodeSessionEx failed: out of memory (10): (no details)\n", "No capable devices found\n"], EncoderBusy),
        (["OpenEncodeSessionEx failed: incompatible client key (21): (no details)"], EncoderBusy),
        (["Cannot load libcuda.so.1"], EncoderMissing),
        (["OpenEncodeSessionEx failed: unsupported device (2): (no details)", "No capable devices found"], EncoderMissing),
        (["Driver does not support the required nvenc API version. Required: 13.0 Found: 12.1"], EncoderMissing),
        (["Codec not supported"], EncoderMissing),
        (["InitializeEncoder failed: invalid param (8): Invalid Level."], None),
        (["CreateInputBuffer failed: out of memory (10)"], None),
        ([], None),
    ],
)
def test_a_refusal_is_told_from_a_wrong_setting(log: list[str], kind: type | None) -> None:
    found = refusal("h264_nvenc", log, "[Errno 12] Cannot allocate memory")
    assert type(found) is (kind or type(None))
    assert refusal("libx264", log, "boom") is None
    if found is not None:
        assert "\n" not in str(found) and log[0].split(" (")[0].strip() in str(found)


def raised(make: Exception, cause: Exception) -> Exception:
    """``make`` as it is raised while ``cause`` is handled."""
    try:
        try:
            raise cause
        except Exception:
            raise make from None
    except Exception as error:
        return error


def test_too_many_sessions_are_neither_short_memory_nor_the_work_s_fault() -> None:
    """FFmpeg reports them as ENOMEM, which would make every later attempt thriftier and then park the unit."""
    busy = raised(EncoderBusy("h264_nvenc", "out of memory (10)"), av.error.MemoryError(12, "Cannot allocate memory"))
    assert cause_of(busy) is Cause.BUSY
    assert shortage_of(busy) is None
    assert shortage_of(raised(ValueError("x"), MemoryError())) == "host"
    missing = raised(EncoderMissing("h264_nvenc", "Cannot load libcuda.so.1"), av.error.PermissionError(1, "not permitted"))
    assert cause_of(missing) is Cause.CODE
    assert storage_error_of(missing, ["/tmp"]) is None


def test_a_busy_encoder_is_asked_again_and_then_given_up() -> None:
    answers, slept = [EncoderBusy("h264_nvenc", "full"), EncoderBusy("h264_nvenc", "full"), None], list[float]()

    def make() -> str:
        if (answer := answers.pop(0)) is not None:
            raise answer
        return "open"

    assert when_free(make, (1.0, 2.0, 4.0), slept.append) == "open" and slept == [1.0, 2.0]
    answers[:] = [EncoderBusy("h264_nvenc", "full")] * 4
    with pytest.raises(EncoderBusy, match="larger --gpu-fraction"):
        when_free(make, (1.0, 2.0, 4.0), slept.append)
    assert not answers


def test_a_segment_waits_for_its_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusals, add = [EncoderBusy("libx264", "full")], encode._add_encoder

    def crowded(*args: object) -> object:
        if refusals:
            raise refusals.pop()
        return add(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(encode, "_add_encoder", crowded)
    monkeypatch.setattr("tasks.nvenc.time.sleep", lambda seconds: None)
    monkeypatch.setattr(encode, "when_free", lambda make: when_free(make, (0.0,), lambda seconds: None))
    with SegmentWriter(str(tmp_path / "s.mkv"), VIDEO, EncodeSettings(), "yuv420p") as writer:
        writer.write(sequence(0, 1)[0])
        assert writer.close().num_frames == 1
    assert not refusals


@without_nvenc
def test_a_fault_that_is_met_twice_is_understood_twice() -> None:
    """FFmpeg's log leaves out a line that repeats the one before."""
    assert [why_not("h264_nvenc") for _ in range(3)] == ["Cannot load libcuda.so.1"] * 3


@without_nvenc
@pytest.mark.parametrize("codec", NVENC)
def test_where_there_is_no_gpu_it_says_so_and_a_cluster_s_head_checks_the_rest(tmp_path: Path, codec: str) -> None:
    video = VIDEO.__class__(640, 480, VIDEO.rate, VIDEO.sample_aspect_ratio, VIDEO.colour)
    with pytest.raises(EncoderMissing, match=f"{codec} is not to be had on this machine"):
        SegmentWriter(str(tmp_path / "s.mkv"), video, EncodeSettings(codec=codec), "yuv420p")
    check_output(codec, "out.mp4", 640, 480, "yuv420p", EncodeSettings(codec=codec))
    with pytest.raises(InputError, match="at least"):
        check_output(codec, "out.mp4", 64, 64, "yuv420p", EncodeSettings(codec=codec))
    with pytest.raises(InputError, match=r"crf 0\.5 is out of range"):
        check_output(codec, "out.mp4", 640, 480, "yuv420p", EncodeSettings(codec=codec, crf=0.5))
    with pytest.raises(InputError, match="encoder option rc=cbr is fixed by vsalign"):
        check_output(codec, "out.mp4", 640, 480, "yuv420p", EncodeSettings(codec=codec, options=(("rc", "cbr"),)))
    with pytest.raises(InputError, match="encoder option cq=20 is already set by the crf setting"):
        check_output(codec, "out.mp4", 640, 480, "yuv420p", EncodeSettings(codec=codec, options=(("cq", "20"),)))


@pytest.mark.parametrize("codec", NVENC)
def test_ffmpeg_knows_every_option_it_is_given(codec: str) -> None:
    """One that it does not know is passed over in silence until a GPU is there; a wrong value is noticed before."""
    for option in encoder_options(EncodeSettings(codec=codec)):
        context = av.CodecContext.create(codec, "w")
        context.width, context.height, context.pix_fmt, context.time_base = 640, 480, "yuv420p", VIDEO.rate**-1
        context.options = {option: "nonsense"}
        with captured_log(av.logging.ERROR) as log, pytest.raises((av.FFmpegError, ValueError)):
            context.open()
        assert not any("libcuda" in line[2] for line in log), f"{codec} has no option {option}"


@pytest.mark.parametrize("codec", NVENC)
def test_quality_and_presets_are_mapped(codec: str) -> None:
    options = encoder_options(EncodeSettings(codec=codec, crf=23.5, preset="p7"))
    assert options["cq"] == "23.5" and options["preset"] == "p7" and "crf" not in options
    assert (options["rc"], options["b"], options["rc-lookahead"], options["forced-idr"]) == ("vbr", "0", "0", "1")
    with pytest.raises(InputError, match="unknown preset 'slow'"):
        encoder_options(EncodeSettings(codec=codec, preset="slow"))


@pytest.mark.parametrize(
    ("codec", "wanted", "chosen"),
    [
        ("h264_nvenc", "yuv420p10le", "yuv420p"),
        ("hevc_nvenc", "yuv420p12le", "yuv420p10le"),
        ("hevc_nvenc", "yuv422p", "yuv444p"),
        ("hevc_nvenc", "yuv444p16le", "yuv444p10le"),
        ("av1_nvenc", "yuv444p10le", "yuv420p10le"),
        ("h264_nvenc", "gray", "yuv420p"),
    ],
)
def test_only_formats_that_it_keeps_are_chosen(codec: str, wanted: str, chosen: str) -> None:
    assert choose_pixel_format(codec, wanted)[0] == chosen


@pytest.mark.parametrize(("name", "own"), [("yuv420p10le", "p010le"), ("yuv444p10le", "yuv444p16le")])
def test_samples_lie_as_nvenc_takes_them(name: str, own: str) -> None:
    (sent,) = sequence(5, 6, name, 66, 34)
    frame = packed(sent, own)
    assert frame.format.name == own
    again = planar(frame, name)
    for plane, samples in zip(again.planes, sent.planes, strict=True):
        rows = np.frombuffer(plane, np.uint16).reshape(-1, plane.line_size // 2)
        assert np.array_equal(rows[: samples.shape[0], : samples.shape[1]], samples)
    # and FFmpeg reads them as the same picture
    if own == "p010le":
        assert picture_hash(picture_of(frame, sent.colour, VideoReformatter())) == picture_hash(sent)

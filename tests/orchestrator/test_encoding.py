"""Which encoder a job uses: decided once, kept with the job, and told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.config import JOB_SCHEMA, JobConfig, job_config
from orchestrator.encoding import build_notice, encoder_notice, missing, settle_encoder
from orchestrator.jobdir import saved_config
from orchestrator.works import render_works
from tasks.commit import library_versions
from tests.factories import config_of, inputs_of, record
from tests.orchestrator.test_works import NUM_FRAMES, plan_of
from vsalign.errors import InputError
from vsalign.framemap import FrameMap

NO_DRIVER = "Cannot load libcuda.so.1"


def job(folder: Path, **tables: dict[str, Any]) -> JobConfig:
    films = {"clip": "a.mkv", "ref": "b.mkv", "out": str(folder / "c.mkv")}
    return job_config({**films, "encode": {"codec": "h264_nvenc"}, **tables}, "x")


def begin(config: JobConfig) -> JobConfig:
    """The job directory of ``config``, as a run leaves it."""
    folder = Path(config.job_location)
    folder.mkdir(parents=True, exist_ok=True)
    saved = {"schema_version": JOB_SCHEMA, "clip": "c", "ref": "r", "config": config.model_dump(mode="json")}
    (folder / "job.json").write_text(json.dumps(saved))
    return saved_config(str(folder))


def absent(codec: str) -> str:
    return NO_DRIVER


def present(codec: str) -> str:
    return ""


def never(codec: str) -> str:
    raise AssertionError("this machine is not asked")


@pytest.mark.parametrize(
    ("run", "look", "why"),
    [
        ({}, present, ""),
        ({}, absent, NO_DRIVER),
        ({"pool": "local"}, absent, NO_DRIVER),
        ({"address": "local"}, absent, NO_DRIVER),
        ({"address": "ray://head:10001"}, never, ""),
        ({"address": "auto"}, never, ""),
        ({"hwaccel": "none"}, never, "--hwaccel none"),
        ({"hwaccel": "none", "address": "auto"}, never, "--hwaccel none"),
        ({"device": "cpu"}, never, "--device cpu: workers see no GPU"),
        ({"device": "cpu", "address": "auto"}, never, "--device cpu: workers see no GPU"),
    ],
)
def test_what_the_workers_have_decides(tmp_path: Path, run: dict[str, str], look: Any, why: str) -> None:
    config = job(tmp_path, run=run)
    assert missing(config.run, "h264_nvenc", look) == why
    settled = settle_encoder(config, look)
    if not why:
        assert settled == config and encoder_notice(settled) == ""
        return
    assert settled.encode.settings().codec == "libx264"
    assert encoder_notice(settled) == f"libx264 encodes instead of h264_nvenc: {why}"


def test_software_is_left_alone(tmp_path: Path) -> None:
    for encode in ({}, {"codec": "libx265"}, {"preset": "archive"}):
        config = job(tmp_path, encode=encode)
        assert settle_encoder(config, never) == config


def test_the_stand_in_has_the_settings_that_were_asked_for(tmp_path: Path) -> None:
    config = job(
        tmp_path, encode={"codec": "av1_nvenc", "crf": 30.5, "preset": "p7", "threads": 3, "pixel_format": "yuv420p10le"}
    )
    how = settle_encoder(config, absent).encode.settings()
    assert (how.codec, how.crf, how.preset, how.threads, how.pixel_format) == ("libsvtav1", 30.0, "4", 3, "yuv420p10le")
    web = settle_encoder(job(tmp_path, encode={"codec": "h264_nvenc", "preset": "web"}), absent).encode
    assert (web.preset, web.settings().crf, web.settings().preset) == ("web", 18.0, "slow")
    with pytest.raises(InputError, match=r"its options .spatial-aq. mean nothing to libx264"):
        settle_encoder(job(tmp_path, encode={"codec": "h264_nvenc", "options": {"spatial-aq": "1"}}), absent)


def test_a_job_begun_in_software_goes_on_so_where_there_is_a_gpu(tmp_path: Path) -> None:
    begun = begin(settle_encoder(job(tmp_path), absent))
    resumed = settle_encoder(begun, never)
    assert resumed == begun and resumed.encode.settings().codec == "libx264"
    assert "instead of h264_nvenc" in encoder_notice(resumed), "the report of the resumed run says it too"
    again = settle_encoder(job(tmp_path), never)
    assert again.encode == begun.encode, "the same command once more is the same job"


def test_a_job_begun_with_nvenc_keeps_it_where_there_is_none(tmp_path: Path) -> None:
    begun = begin(settle_encoder(job(tmp_path), present))
    assert settle_encoder(begun, never).encode.codec == "h264_nvenc"
    assert settle_encoder(job(tmp_path), never).encode.codec == "h264_nvenc"


def test_another_encoder_is_another_decision(tmp_path: Path) -> None:
    begin(settle_encoder(job(tmp_path), absent))
    asked = settle_encoder(job(tmp_path, encode={"codec": "hevc_nvenc"}), absent)
    assert asked.encode.settings().codec == "libx265"


def test_the_builds_that_encode_are_part_of_every_chunk_s_fingerprint() -> None:
    films, frame_map = inputs_of(), FrameMap.identity(NUM_FRAMES, NUM_FRAMES)
    inputs = render_works(plan_of(films), films, config_of(), frame_map, "job")[0].inputs
    assert inputs["ffmpeg version"] == library_versions()["ffmpeg"]
    assert inputs["encoder version"] == library_versions()["libx264"]


def made(name: str, host: str, **versions: str) -> Any:
    return record(name, host=host, versions={"av": "18.1.0", "ffmpeg": "8.1.2", "libx264": "core 165", **versions})


def test_chunks_of_another_build_are_told() -> None:
    alike = {name: made(name, "a") for name in ("render-00000", "render-00001")}
    assert build_notice(alike, "libx264") == "" and build_notice({}, "libx264") == ""
    odd = alike | {"render-00002": made("render-00002", "spot7", libx264="core 164")}
    line = build_notice(odd, "libx264")
    found, usual = "ffmpeg 8.1.2 libx264 core 164", "ffmpeg 8.1.2 libx264 core 165"
    assert line == f"1 of 3 chunks were made by another build ({found} on spot7; the others {usual})"
    assert build_notice(odd, "libx265") == "", "another encoder than the job's"


def test_the_conflict_of_a_preset_stands_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--preset master and --codec h264_nvenc do not go together"):
        job(tmp_path, encode={"codec": "h264_nvenc", "preset": "master"})

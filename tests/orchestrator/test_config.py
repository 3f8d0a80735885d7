"""A job file that is wrong gets one line that names the key and what is accepted."""

from pathlib import Path

import pytest

from orchestrator.config import job_config, load_job_file, merge
from vsalign.errors import InputError

GOOD = {"clip": "a.mkv", "ref": "b.mkv", "out": "c.mkv"}


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({**GOOD, "encode": {"crv": 3}}, "unknown key encode.crv; accepted here: codec, crf, preset"),
        ({**GOOD, "bogus": 1}, "unknown key bogus; accepted here: clip, ref, out, sync"),
        ({**GOOD, "encode": {"crf": "good"}}, "encode.crf is 'good'; accepted: a number from 0 to 63"),
        ({**GOOD, "encode": {"codec": "vp9"}}, "encode.codec is 'vp9'; accepted: libx264, libx265"),
        ({**GOOD, "sync": {"tr": -1}}, "sync.tr is -1; accepted: a whole number of clip frames from 1"),
        ({**GOOD, "align": {"precision": 5}}, "align.precision is 5; accepted: 1 (fastest) to 4"),
        ({**GOOD, "align": {"unmatched": "fallback"}}, "goes with align.fallback"),
        ({**GOOD, "sync": {"mode": "map"}}, 'sync.frame_map goes with sync.mode = "map"'),
        ({**GOOD, "run": 7}, "run is 7; accepted: a table"),
        ({"ref": "b", "out": "c"}, "clip is missing; wanted: path of the film that gets moved"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_accepted(values: dict, line: str):
    with pytest.raises(InputError) as caught:
        job_config(values, "JOB.toml")
    assert str(caught.value).startswith("JOB.toml: ") and line in str(caught.value) and "\n" not in str(caught.value)


def test_paths_of_a_job_file_count_from_its_folder(tmp_path: Path):
    job = tmp_path / "JOB.toml"
    job.write_text('clip = "a.mkv"\nref = "/films/b.mkv"\nout = "c.mkv"\n[run]\njob = "work"\n')
    values = load_job_file(job)
    assert values["clip"] == str(tmp_path / "a.mkv") and values["ref"] == "/films/b.mkv"
    assert values["run"]["job"] == str(tmp_path / "work")


@pytest.mark.parametrize("content", [None, b"clip = ", b"\xff\xfe"])
def test_a_job_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None):
    job = tmp_path / "JOB.toml"
    if content is not None:
        job.write_bytes(content)
    with pytest.raises(InputError, match=r"JOB\.toml"):
        load_job_file(job)


def test_flags_win_over_the_job_file_key_by_key():
    merged = merge({**GOOD, "encode": {"crf": 18, "codec": "ffv1"}}, {"encode": {"crf": 20}, "run": {"pool": "local"}})
    assert merged["encode"] == {"crf": 20, "codec": "ffv1"} and merged["run"] == {"pool": "local"}

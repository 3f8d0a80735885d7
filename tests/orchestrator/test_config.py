"""A job file that is wrong gets one line that names the key and what is accepted."""

from pathlib import Path

import pytest

from orchestrator.config import job_config, load_job_file, merge
from orchestrator.sections import AlignConfig, DecodeConfig, OutputConfig
from vsalign.errors import InputError
from vsalign.settings import DEFAULT_SMOOTH_TIME

GOOD = {"clip": "a.mkv", "ref": "b.mkv", "out": "c.mkv"}


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({**GOOD, "encode": {"crv": 3}}, "unknown key encode.crv; accepted here: codec, crf, preset"),
        ({**GOOD, "bogus": 1}, "unknown key bogus; accepted here: clip, ref, out, decode, sync"),
        ({**GOOD, "encode": {"crf": "good"}}, "encode.crf is 'good'; accepted: a number from 0 to 63"),
        ({**GOOD, "encode": {"codec": "vp9"}}, "encode.codec is 'vp9'; accepted: libx264, libx265"),
        ({**GOOD, "sync": {"tr": -1}}, "sync.tr is -1; accepted: a whole number of clip frames from 1"),
        ({**GOOD, "align": {"precision": 5}}, "align.precision is 5; accepted: 1 (fastest) to 4"),
        ({**GOOD, "align": {"unmatched": "fallback"}}, "goes with align.fallback"),
        ({**GOOD, "align": {"engine": "magic"}}, 'align.engine is \'magic\'; accepted: "dense" or "rife"'),
        ({**GOOD, "align": {"weights": "w.pkl"}}, 'align.weights goes with align.engine = "rife", and only with it'),
        ({**GOOD, "align": {"exact_peer": True}}, 'align.exact_peer goes with align.engine = "rife", and only with it'),
        ({**GOOD, "align": {"iterations": 0}}, "align.iterations is 0; accepted: a whole number from 1 to 20"),
        ({**GOOD, "align": {"smooth_time": -1}}, "align.smooth_time is -1; accepted: a whole number of ref frames from 0 to"),
        ({**GOOD, "align": {"smooth_time": 1.5}}, "align.smooth_time is 1.5; accepted: a whole number"),
        ({**GOOD, "align": {"mismatch": "blue"}}, 'align.mismatch is \'blue\'; accepted: "keep", "ref", "black" or "white"'),
        ({**GOOD, "align": {"mismatch": "ref", "warp": False}}, "align.mismatch is 'ref'; accepted without warp: \"keep\""),
        ({**GOOD, "align": {"wide_search": "maybe"}}, "align.wide_search is 'maybe'; accepted: true or false"),
        ({**GOOD, "align": {"lq_input": 3}}, "align.lq_input is 3; accepted: true or false"),
        ({**GOOD, "align": {"mask": 7}}, "align.mask is 7; accepted: path of a picture or film"),
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
    job.write_text(
        'clip = "a.mkv"\nref = "/films/b.mkv"\nout = "c.mkv"\n[align]\nmask = "m.png"\nweights = "w"\n[run]\njob = "work"\n'
    )
    values = load_job_file(job)
    assert values["clip"] == str(tmp_path / "a.mkv") and values["ref"] == "/films/b.mkv"
    assert values["run"]["job"] == str(tmp_path / "work")
    assert values["align"] == {"mask": str(tmp_path / "m.png"), "weights": str(tmp_path / "w")}


@pytest.mark.parametrize("content", [None, b"clip = ", b"\xff\xfe"])
def test_a_job_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None):
    job = tmp_path / "JOB.toml"
    if content is not None:
        job.write_bytes(content)
    with pytest.raises(InputError, match=r"JOB\.toml"):
        load_job_file(job)


def test_every_setting_of_the_warp_reaches_the_work():
    chosen = {"precision": 4, "mismatch": "ref", "smooth_time": 7, "engine": "rife", "iterations": 2}
    switches = dict.fromkeys(("wide_search", "lq_input", "exact_peer"), True)
    settings = job_config({**GOOD, "align": {**chosen, **switches}}, "test").align.settings("found.pkl")
    assert {name: getattr(settings, name) for name in (*chosen, *switches)} == chosen | switches
    assert settings.weights == "found.pkl" and settings.warp


def test_the_example_job_file_shows_the_defaults():
    values = load_job_file(Path(__file__).parents[2] / "examples" / "JOB.toml")
    config = job_config(values, "JOB.toml")
    assert config.align == AlignConfig() and config.decode == DecodeConfig() and config.output == OutputConfig()
    using = Path(__file__).parents[2].joinpath("docs", "using.md").read_text()
    assert f"(default {DEFAULT_SMOOTH_TIME})" in using
    for key in AlignConfig.model_fields:
        assert key in Path(__file__).parents[2].joinpath("examples", "JOB.toml").read_text()


def test_the_radius_is_none_where_nothing_is_warped():
    assert AlignConfig().radius == DEFAULT_SMOOTH_TIME and AlignConfig(warp=False).radius == 0


def test_flags_win_over_the_job_file_key_by_key():
    merged = merge({**GOOD, "encode": {"crf": 18, "codec": "ffv1"}}, {"encode": {"crf": 20}, "run": {"pool": "local"}})
    assert merged["encode"] == {"crf": 20, "codec": "ffv1"} and merged["run"] == {"pool": "local"}

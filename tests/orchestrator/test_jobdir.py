"""The job directory keeps what a later run must not choose anew."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from orchestrator.config import JobConfig, load_job_file
from orchestrator.inputs import Inputs
from orchestrator.jobdir import JobDir, bounds_for, check_job_dir, discard, is_begun, open_job, saved_config
from orchestrator.lease import held
from orchestrator.outcheck import check_out_path
from orchestrator.stopping import StopRequest
from tasks import location
from tasks.localstore import LocalStore
from tasks.outfile import write_out
from tasks.store import open_store
from tests.factories import config_of, frame_index, inputs_of
from tests.s3 import KEY_ID, SECRET, S3Bucket
from vsalign.errors import InputError


@pytest.fixture
def inputs() -> Inputs:
    small = inputs_of()
    clip, ref = (replace(probe, index=frame_index(5000, keys=100)) for probe in (small.clip, small.ref))
    return replace(small, clip=clip, ref=ref)


@pytest.fixture
def job(tmp_path: Path) -> JobDir:
    return JobDir(LocalStore(tmp_path), made_here=True)


def test_a_film_stays_cut_as_it_was_on_another_number_of_workers(job: JobDir, inputs: Inputs):
    first = bounds_for(job, inputs, config_of(), num_workers=2)
    assert bounds_for(job, inputs, config_of(), num_workers=16) == first


def test_another_chunk_length_or_film_length_cuts_anew(job: JobDir, inputs: Inputs):
    first = bounds_for(job, inputs, config_of(), num_workers=2)
    asked = bounds_for(job, inputs, config_of(run={"chunk_frames": 60}), num_workers=2)
    assert asked.chunks[1] == 60 and asked != first
    longer = replace(inputs, ref=replace(inputs.ref, index=frame_index(6000, keys=100)))
    assert bounds_for(job, longer, config_of(), num_workers=2).chunks[-1] == 6000


@pytest.mark.parametrize("damage", [b"", b"{", b"[]"])
def test_a_torn_plan_is_made_again(job: JobDir, inputs: Inputs, damage: bytes):
    first = bounds_for(job, inputs, config_of(), num_workers=2)
    job.store.replace("plan.json", damage)
    assert bounds_for(job, inputs, config_of(), num_workers=2) == first


def opened(config: JobConfig, inputs: Inputs) -> AbstractContextManager[JobDir]:
    return open_job(config, inputs, StopRequest(), lambda line: None)


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "job")
    return f"{request.getfixturevalue('s3').address}/jobs/a"


def test_a_job_directory_is_made_reopened_and_read_wherever_it_is(place: str, inputs: Inputs):
    config = config_of(run={"job": place})
    assert not is_begun(config)
    with opened(config, inputs) as job:
        assert job.made_here and job.location == place and is_begun(config)
        assert job.store.names("probe")
    with opened(config, inputs) as job:
        assert not job.made_here
        discard(job)
    assert saved_config(place).run.job == place
    assert saved_config(place).out == location.absolute(config.out)


def test_a_job_made_for_nothing_leaves_nothing(place: str, inputs: Inputs):
    config = config_of(run={"job": place})
    with opened(config, inputs) as job:
        discard(job)
    assert open_store(place).entries() == set()


def test_the_job_directory_of_another_job_is_refused(place: str, inputs: Inputs):
    with opened(config_of(run={"job": place}), inputs):
        pass
    with pytest.raises(InputError, match=r"of another job .its output differs"):
        check_job_dir(config_of(run={"job": place}, out="other.mkv"), inputs)


def test_what_is_no_job_directory_is_refused_and_left_alone(place: str, inputs: Inputs):
    store = open_store(place)
    with pytest.raises(InputError, match=r"no such job directory|no readable job\.json"):
        saved_config(place)
    store.replace("holiday.jpg", b"precious")
    for open_it in (lambda: saved_config(place), lambda: check_job_dir(config_of(run={"job": place}), inputs)):
        with pytest.raises(InputError, match=r"no readable job\.json"):
            open_it()
    assert store.entries() == {"holiday.jpg"}


def test_what_a_job_killed_while_it_began_left_is_no_other_job(place: str, inputs: Inputs, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("orchestrator.jobdir.held", partial(held, ttl_s=1.0))  # a torn lease is watched for its time to live
    store = open_store(place)
    for name in ("lease.json", "probe/clip.npz", ".self-test-0"):
        store.replace(name, b"")
    with opened(config_of(run={"job": place}), inputs):
        assert store.read("job.json")


def test_a_store_that_refuses_or_does_not_keep_promises_stops_the_job_before_work(s3: S3Bucket, inputs: Inputs):
    config = config_of(run={"job": f"{s3.address}/job"})
    for status, says in ((403, "access refused"), (507, "no space left")):
        s3.server.spoil = lambda environ, status=status: status if environ["REQUEST_METHOD"] == "PUT" else None
        with pytest.raises(InputError, match=says), opened(config, inputs):
            pass
    s3.server.spoil = lambda environ: environ.pop("HTTP_IF_NONE_MATCH", None) and None
    with pytest.raises(InputError, match="only once"), opened(config, inputs):
        pass
    s3.server.spoil = None
    assert open_store(f"{s3.address}/job").read("job.json") is None


def test_no_secret_of_the_environment_is_in_a_job_directory(place: str, inputs: Inputs, s3: S3Bucket):
    with opened(config_of(run={"job": place}), inputs) as job:
        bounds_for(job, inputs, config_of(), 2)
        job.store.append("journal.jsonl", "begun")
        job.store.flush()
        tops = [name for name in ("", "probe", "done", "logs") for name in job.store.names(name)]
        content = b"".join(job.store.read(name) or b"" for name in tops)
    assert tops and SECRET.encode() not in content and KEY_ID.encode() not in content


def test_paths_of_a_job_file_are_taken_from_its_folder_and_addresses_left_alone(tmp_path: Path):
    path = tmp_path / "job.toml"
    path.write_text(
        'clip = "s3://films/clip.mkv"\nref = "ref.mkv"\nout = "gs://films/out.mkv"\n[run]\njob = "s3://films/job"\n'
    )
    values = load_job_file(path)
    assert (values["clip"], values["ref"]) == ("s3://films/clip.mkv", str(tmp_path / "ref.mkv"))
    assert (values["out"], values["run"]["job"]) == ("gs://films/out.mkv", "s3://films/job")


def test_a_whole_bucket_is_no_job_directory(s3: S3Bucket, inputs: Inputs):
    for address in (s3.address, f"{s3.address}/"):
        with pytest.raises(InputError, match=r"whole bucket is no job directory; accepted: s3://\S+[^/]/FOLDER$"):
            check_job_dir(config_of(run={"job": address}), inputs)
    with pytest.raises(InputError, match="credentials") as error:
        check_job_dir(config_of(run={"job": f"s3://key:{SECRET}@bucket"}), inputs)
    assert SECRET not in str(error.value)
    discard(JobDir(open_store(s3.address), made_here=True))  # which may not be dropped; that is nobody's trouble


def test_out_in_a_bucket_is_looked_at_before_work(s3: S3Bucket):
    def config(**more: object) -> JobConfig:
        return config_of(**{"out": f"{s3.address}/out.mkv", **more})

    check_out_path(config(), out_may_exist=False)
    write_out(f"{s3.address}/out.mkv", b"film")
    with pytest.raises(InputError, match=r"out\.mkv exists; --overwrite"):
        check_out_path(config(), out_may_exist=False)
    check_out_path(config(output={"overwrite": True}), out_may_exist=False)
    with pytest.raises(InputError, match="is REF itself"):
        check_out_path(config(ref=f"{s3.address}/out.mkv"), out_may_exist=True)
    with pytest.raises(InputError, match="no such bucket"):
        check_out_path(config(out="s3://no-such-bucket-here/out.mkv"), out_may_exist=False)

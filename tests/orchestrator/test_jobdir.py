"""The job directory keeps what a later run must not choose anew."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.inputs import Inputs
from orchestrator.jobdir import JobDir, bounds_for
from tasks.store import LocalStore
from tests.factories import config_of, frame_index, inputs_of


@pytest.fixture
def inputs() -> Inputs:
    small = inputs_of()
    clip, ref = (replace(probe, index=frame_index(5000, keys=100)) for probe in (small.clip, small.ref))
    return replace(small, clip=clip, ref=ref)


@pytest.fixture
def job(tmp_path: Path) -> JobDir:
    return JobDir(tmp_path, LocalStore(tmp_path), made_here=True)


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
    job.store.local_path("plan.json").write_bytes(damage)
    assert bounds_for(job, inputs, config_of(), num_workers=2) == first

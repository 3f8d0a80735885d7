"""Estimates move the way that settings push them."""

from orchestrator.estimate import estimate
from tests.factories import config_of, inputs_of


def test_a_lower_crf_needs_more_disk_and_six_steps_double_it():
    sizes = [estimate(inputs_of(), config_of(encode={"crf": crf}), 2).segment_bytes for crf in (16, 10)]
    assert abs(sizes[1] / sizes[0] - 2) < 0.05


def test_exactness_costs_time_and_workers_save_it():
    quick, exact = (estimate(inputs_of(), config_of(align={"precision": p}), 2).render_seconds for p in (1, 3))
    assert exact > quick
    assert (
        abs(estimate(inputs_of(), config_of(), 4).render_seconds * 2 - estimate(inputs_of(), config_of(), 2).render_seconds)
        < 1e-9
    )


def test_a_job_that_is_not_synced_scans_nothing():
    need = estimate(inputs_of(), config_of(sync={"mode": "none"}), 2)
    assert need.scan_bytes == 0 and need.scan_seconds == 0


def test_cuts_and_iterations_cost_time_and_cuts_only_where_warps_are_steadied():
    steady, alone = config_of(align={"smooth_time": 6}), config_of(align={"smooth_time": 0})
    one, many = (estimate(inputs_of(), steady, 1, chunks).render_seconds for chunks in (1, 10))
    assert many > one == estimate(inputs_of(), alone, 1, 10).render_seconds
    assert estimate(inputs_of(), config_of(align={"iterations": 2}), 1).render_seconds > one

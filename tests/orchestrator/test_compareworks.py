"""Units that compare: what makes them stale, and what does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from orchestrator.compareworks import choose_work, compare_works
from orchestrator.config import JobConfig
from orchestrator.estimate import estimate
from orchestrator.plan import choose_bounds
from orchestrator.planview import plan_json, plan_table
from orchestrator.works import plan_job
from tasks.messages import MetricSettings
from tasks.work import SAME_PICTURE, ChooseWork, CompareWork
from tests.factories import NUM_FRAMES, config_of, inputs_of, record, work
from vsalign.framemap import FrameMap

PLUGIN = MetricSettings(2, "SSIMULACRA2", "vszip 23.1")
OWN = MetricSettings(1, "PlaneStats", "1")
MOVED = (1.0, 0.0, 0.1, 0.0, 1.0, 0.0)


def units(
    config: JobConfig,
    metric: MetricSettings,
    clip_frame: np.ndarray | None = None,
    geometry: tuple[float, ...] = SAME_PICTURE,
    clip: str = "clip",
    **solve: str,
) -> tuple[list[CompareWork], ChooseWork]:
    inputs = replace(inputs_of(clip), metric=metric)
    plan, _ = plan_job(config, inputs, choose_bounds(inputs.clip.index, inputs.ref.index, 25, 1))
    solved = FrameMap.of_clip_frames(np.arange(NUM_FRAMES) if clip_frame is None else clip_frame, NUM_FRAMES)
    works = compare_works(plan, inputs, config, solved, geometry, "job")
    records = {unit.name: record(of=unit, sha256=unit.fingerprint) for unit in works}
    return works, choose_work(inputs, config, works, records, record(of=work("solve", **solve)), "job")


def same(one: tuple[list[CompareWork], ChooseWork], other: tuple[list[CompareWork], ChooseWork]) -> tuple[list[bool], bool]:
    pairs = zip(one[0], other[0], strict=True)
    return [a.fingerprint == b.fingerprint for a, b in pairs], one[1].fingerprint == other[1].fingerprint


ALL, NONE = [True] * 4, [False] * 4


def sync(**values: object) -> JobConfig:
    return config_of(sync={"precision": 2, **values})


def test_each_chunk_is_a_unit_with_its_rows_of_the_solves_map() -> None:
    frames = np.arange(NUM_FRAMES) - 3
    works, choose = units(sync(), PLUGIN, frames)
    assert [str(unit.ref_frames) for unit in works] == ["[0, 25)", "[25, 50)", "[50, 75)", "[75, 100)"]
    assert works[0].expected[:5] == (-1, -1, -1, 0, 1) and works[3].expected[-1] == 96
    assert len({unit.fingerprint for unit in works}) == 4 and len(choose.cost_blobs) == 4


def test_what_is_chosen_of_the_costs_makes_them_stale_only_where_they_were_worked_out_for_it() -> None:
    assert same(units(sync(), PLUGIN), units(sync(select="argmin"), PLUGIN)) == (ALL, False)
    own = {"precision": 1}
    assert same(units(sync(**own), OWN), units(sync(**own, select="argmin"), OWN)) == (NONE, False)


def test_radius_metric_its_version_films_and_geometry_make_all_stale() -> None:
    base = units(sync(), PLUGIN)
    for other in (
        units(sync(tr=5), PLUGIN),
        units(sync(), replace(PLUGIN, version="vszip 24.0")),
        units(sync(), replace(PLUGIN, name="Butteraugli")),
        units(sync(precision=3), MetricSettings(3, "TOPIQ", "aa")),
        units(sync(), PLUGIN, geometry=MOVED),
        units(sync(), PLUGIN, clip="other"),
    ):
        assert same(base, other) == (NONE, False)


def test_where_and_by_how_many_the_work_is_done_does_not_count() -> None:
    elsewhere = config_of(sync={"precision": 3}, run={"pool": "local", "workers": 3, "device": "cuda"})
    network = MetricSettings(3, "TOPIQ", "aa", weights="/here/w.pth")
    moved = replace(network, weights="/there/w.pth", on_gpu=True)
    assert same(units(sync(precision=3), network), units(elsewhere, moved)) == (ALL, True)


def test_a_row_of_the_solves_map_that_changes_makes_its_chunk_stale() -> None:
    frames = np.arange(NUM_FRAMES)
    frames[30] = 29
    assert same(units(sync(), PLUGIN), units(sync(), PLUGIN, frames)) == ([True, False, True, True], False)


def test_another_solve_that_gives_the_same_frames_leaves_their_costs_alone() -> None:
    assert same(units(sync(), PLUGIN), units(sync(), PLUGIN, solved_by="another")) == (ALL, False)


def test_only_the_network_is_told_a_device_and_only_clusters_limit_the_plugins_threads() -> None:
    run = {"device": "cuda", "cores_per_worker": 3}
    config = config_of(sync={"precision": 2}, run=run)
    assert {(w.device, w.threads) for w in units(config, PLUGIN)[0]} == {("cpu", 3)}
    config = config_of(sync={"precision": 3}, run={**run, "pool": "local"})
    assert {(w.device, w.threads) for w in units(config, MetricSettings(3, "TOPIQ", "aa"))[0]} == {("cuda", 0)}


@pytest.mark.parametrize("precision", [1, 2, 3])
def test_the_plan_shows_what_is_compared_and_the_estimate_has_room_for_it(precision: int) -> None:
    metric = {1: OWN, 2: PLUGIN, 3: MetricSettings(3, "TOPIQ", "aa", on_gpu=True)}[precision]
    inputs, config = replace(inputs_of(), metric=metric), sync(precision=precision)
    plan, _ = plan_job(config, inputs, choose_bounds(inputs.clip.index, inputs.ref.index, 25, 1))
    need, plain = (estimate(inputs, one, 1) for one in (config, config_of()))
    assert need.compare_seconds > 0 == plain.compare_seconds and need.job_dir_bytes > plain.job_dir_bytes
    told = plan_json(plan, inputs, need, 1, ["f"] * 4)
    assert told["compare"]["precision"] == precision and told["compare"]["ref_frames"][1] == [25, 50]
    assert f"{metric.name} compares each of the 4 chunks" in plan_table(plan, inputs, need, 1)[1]
    assert plan_json(plan, inputs_of(), plain, 1, ["f"] * 4)["compare"] is None
    assert "compares" not in plan_table(plan, inputs_of(), plain, 1)[1]


def test_costs_that_came_out_otherwise_under_the_same_names_are_chosen_from_anew() -> None:
    works, _ = units(sync(), PLUGIN)
    inputs = replace(inputs_of(), metric=PLUGIN)
    chosen = [
        choose_work(inputs, sync(), works, {u.name: record(of=u, sha256=sha) for u in works}, record(of=work("solve")), "job")
        for sha in ("aa", "aa", "bb")
    ]
    assert chosen[0].fingerprint == chosen[1].fingerprint != chosen[2].fingerprint

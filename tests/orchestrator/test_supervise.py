"""The supervisor over a simulated pool: faults that a real one shows only by luck, on a clock that no one waits for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from orchestrator.errors import InterruptedRun, LeaseLost, StageFailed
from orchestrator.nodes import Census, Slot
from orchestrator.state import AttemptFailed, Board, Budgets, Cause
from orchestrator.stopping import StopRequest
from orchestrator.supervise import StageOutcome, run_stage
from orchestrator.watchdog import Watchdog
from tasks.errors import DamagedFrame, StorageError
from tasks.work import Attempt, Record, Work
from tests.factories import record, work
from tests.simstore import Committer, SimStore
from tests.simulation import WELL, Do, Fate, Fates, SimNode, SimPool, World

TWO_NODES = (SimNode("n1"), SimNode("n2"))


class Listener:
    """What was told, in order; ``on_event`` may act on it."""

    def __init__(self, on_event: Callable[[str, str], None] = lambda what, item: None) -> None:
        self.on_event = on_event
        self.told: list[tuple[str, str]] = []
        self.thrift: list[int] = []
        self.censuses: list[Census] = []

    def _tell(self, what: str, item: str) -> None:
        self.told.append((what, item))
        self.on_event(what, item)

    def unit_started(self, unit: Work, attempt: Attempt, slot: Slot) -> None:
        self.thrift.append(attempt.thrift)
        self._tell("started", unit.name)

    def unit_done(self, unit: Work, made: Record) -> None:
        self._tell("done", unit.name)

    def unit_failed(self, unit: Work, failure: AttemptFailed, parked: bool) -> None:
        self._tell("parked" if parked else "failed", unit.name)

    def tick(self, frames_running: int, census: Census) -> None:
        self.censuses.append(census)


class Run:
    """One stage over a simulated pool; attempts of a unit go as ``fates`` says, in order, and then well."""

    def __init__(
        self,
        names: str,
        fates: dict[str, Sequence[Fate]] | None = None,
        nodes: Sequence[SimNode] = TWO_NODES,
        do: Do | None = None,
        on_fate: Fates | None = None,
    ) -> None:
        self.works = [work(name) for name in names]
        self.world, self.store, self.stop = World(), SimStore(), StopRequest()
        self.listener = Listener()
        scripted = fates or {}

        def fate(unit: Work, attempt: Attempt, node: str) -> Fate:
            script = scripted.get(unit.name, ())
            return script[attempt.number - 1] if attempt.number <= len(script) else WELL

        do = do or (lambda unit, attempt, seconds: record(of=unit, attempt=attempt.number, seconds=seconds))
        self.pool = SimPool(self.world, nodes, do, on_fate or fate)

    def __call__(self, **options: object) -> StageOutcome:
        return run_stage("scan", self.works, self.pool, self.store, self.listener, self.stop, clock=self.world, **options)  # type: ignore[arg-type]

    def nodes_of(self, name: str) -> list[str]:
        return [node for item, _, node in self.pool.submitted if item == name]

    def attempts_of(self, name: str) -> list[int]:
        return [attempt for item, attempt, _ in self.pool.submitted if item == name]


RAISES, DIES, HANGS, CUT_OFF = Fate("raises", 0.5), Fate("dies", 0.5), Fate("hangs"), Fate("cut off", 0.5)


def test_all_units_are_done_and_told_of():
    run = Run("abc")
    outcome = run()
    assert sorted(outcome.records) == ["a", "b", "c"] and not outcome.parked and outcome.num_retries == 0
    assert sorted(item for what, item in run.listener.told if what == "done") == ["a", "b", "c"]


def test_no_units_are_a_finished_stage():
    assert Run("")().records == {}


def test_a_unit_that_always_raises_is_parked_at_the_second_and_all_others_finish():
    run = Run("abc", {"b": [RAISES] * 9})
    outcome = run()
    assert sorted(outcome.records) == ["a", "c"] and outcome.parked["b"].message == "boom"
    assert run.attempts_of("b") == [1, 2] and outcome.num_retries == 1 and outcome.failures == {"code": 2}
    assert ("parked", "b") in run.listener.told


def test_a_unit_that_always_kills_its_worker_is_parked_after_two_nodes_saw_it():
    run = Run("ab", {"b": [DIES] * 9})
    outcome = run()
    assert list(outcome.records) == ["a"] and outcome.parked["b"].cause is Cause.CRASH
    assert len(run.nodes_of("b")) == 3 and set(run.nodes_of("b")) == {"n1", "n2"}


def test_a_failed_unit_avoids_the_node_where_it_failed_while_there_is_another():
    run = Run("abcdefgh", {"a": [RAISES]})
    run()
    first, second = run.nodes_of("a")
    assert first != second


def test_on_the_only_node_a_failed_unit_is_tried_again_there():
    run = Run("a", {"a": [RAISES]}, nodes=[SimNode("n1")])
    assert list(run().records) == ["a"] and run.nodes_of("a") == ["n1", "n1"]


def test_a_machine_that_only_fails_is_shunned_and_its_units_are_done_elsewhere():
    def fate(unit: Work, attempt: Attempt, node: str) -> Fate:
        return Fate("raises", 0.1) if node == "bad" else WELL

    run = Run("abcdefghij", on_fate=fate, nodes=[SimNode("bad"), SimNode("n1"), SimNode("n2")])
    outcome = run()
    assert len(outcome.records) == 10 and run.pool.shunned == ["bad"]
    assert [node for _, _, node in run.pool.submitted].count("bad") == 3


def test_units_that_fail_everywhere_do_not_convict_machines_that_do_others_well():
    run = Run("abcdefghijklmnop", {name: [RAISES] * 2 for name in "aeim"})
    assert sorted(run().parked) == ["a", "e", "i", "m"] and run.pool.shunned == []


def test_a_shunned_machine_that_is_gone_does_not_count_as_one_left(monkeypatch: pytest.MonkeyPatch):
    """What parks a unit that crashes depends on how many machines are left."""
    run = Run("a", {"a": [DIES] * 9}, nodes=[*TWO_NODES])
    run.pool.shunned.append("gone")
    seen: list[int] = []
    handle = Board.handle
    monkeypatch.setattr(Board, "handle", lambda self, event, n=1: seen.append(n) or handle(self, event, n))
    run()
    assert set(seen) == {2}


def test_a_failure_whose_record_exists_is_a_lost_answer_and_not_tried_again(tmp_path: Path):
    run = Run("a", {"a": [Fate("lost")]})
    run.pool._do = Committer(run.store, tmp_path)
    outcome = run()
    assert list(outcome.records) == ["a"] and run.attempts_of("a") == [1] and outcome.failures == {}


def test_a_lost_answer_while_the_store_does_not_answer_either_is_tried_again(tmp_path: Path):
    """The second attempt finds the record."""
    run = Run("a", {"a": [Fate("lost")]})
    committer = run.pool._do = Committer(run.store, tmp_path)
    faults = ["fails before"]

    def do(unit: Work, attempt: Attempt, seconds: float) -> Record:
        made = committer(unit, attempt, seconds)
        run.store.on_call = lambda method, name: faults.pop() if faults else ""
        return made

    run.pool._do = do
    assert list(run().records) == ["a"] and run.attempts_of("a") == [1, 2] and committer.num_made == 1


@pytest.mark.parametrize("cause", ["infra", "preempted"])
def test_machines_that_go_do_not_spend_the_budget_for_code(cause: str):
    spot = [SimNode(f"s{i}", joins_s=i, goes_s=0.5, notice_s=0.1 if cause == "preempted" else 0) for i in range(5)]
    run = Run("a", nodes=[*spot, SimNode("last", joins_s=20)])
    outcome = run(budgets=Budgets(code=1, crash=1))
    assert list(outcome.records) == ["a"] and outcome.failures == {cause: 5}


def test_a_unit_without_memory_is_tried_again_more_thriftily():
    full = Fate("raises", 0.5, MemoryError())
    run = Run("a", {"a": [full, full]})
    assert list(run().records) == ["a"] and run.listener.thrift == [0, 1, 2]


@pytest.mark.parametrize("what", ["full", "denied"])
def test_a_store_that_refuses_ends_the_stage_once_what_runs_is_done(what: str):
    refused = Fate("raises", 0.1, StorageError("job", what, "quota"))  # type: ignore[arg-type]
    run = Run("abcd", {"a": [refused]})
    with pytest.raises(StageFailed, match=r"scan failed at a: job: .*quota"):
        run()
    assert [item for what, item in run.listener.told if what == "started"] == ["a", "b"]
    assert ("done", "b") in run.listener.told and run.pool.closed is None


def test_a_damaged_film_ends_the_stage_or_costs_its_unit_alone():
    stops, skips = (DamagedFrame("clip.ts", 7, "x", 0.28, policy) for policy in ("stop", "skip-chunk"))  # type: ignore[arg-type]
    run = Run("abcd", {"a": [Fate("raises", 0.1, stops)]})
    with pytest.raises(StageFailed, match=r"scan failed at a: .*clip.ts: frame 7 at 00:00:00.280 is damaged: x; --on-corrupt"):
        run()
    assert [item for what, item in run.listener.told if what == "started"] == ["a", "b"]
    assert ("done", "b") in run.listener.told
    outcome = Run("abcd", {"a": [Fate("raises", 0.1, skips)]})()
    assert sorted(outcome.records) == ["b", "c", "d"] and list(outcome.parked) == ["a"]
    assert outcome.failures == {"damage": 1} and outcome.parked["a"].attempt == 1


def test_a_store_out_of_reach_is_tried_again():
    run = Run("ab", {"a": [Fate("raises", 0.1, StorageError("job", "unreachable", "no route"))] * 5})
    outcome = run()
    assert sorted(outcome.records) == ["a", "b"] and outcome.failures == {"infra": 5}


def test_an_answer_of_an_attempt_that_was_given_up_changes_nothing():
    """The first attempt is cut off, goes on unseen and answers while the second runs."""
    run = Run("a", {"a": [Fate("cut off", 0.5, survives_s=0.7)]})
    outcome = run()
    assert outcome.records["a"].attempt == 2 and run.listener.told.count(("done", "a")) == 1


def test_a_failure_heard_twice_is_charged_once():
    run = Run("a", {"a": [Fate("raises", 0.5, again_s=0.6)]})
    outcome = run()
    assert outcome.records["a"].attempt == 2 and outcome.failures == {"code": 1}


def test_a_success_heard_twice_is_told_once():
    run = Run("ab", {"a": [Fate(again_s=0.1)]}, nodes=[SimNode("n1")])
    run()
    assert run.listener.told.count(("done", "a")) == 1


def test_a_unit_that_stands_still_is_stopped_and_tried_again():
    run = Run("abc", {"a": [HANGS]})
    outcome = run(watchdog=Watchdog(patience_s=30))
    assert len(outcome.records) == 3 and outcome.failures == {"stall": 1} and run.pool.stopped == [("a", Cause.STALL)]
    assert 30 < run.world.now < 35


def test_a_unit_that_always_stands_still_is_parked():
    outcome = Run("ab", {"a": [HANGS] * 9})(watchdog=Watchdog(patience_s=30))
    assert outcome.parked["a"].cause is Cause.STALL and list(outcome.records) == ["b"]


def test_a_unit_that_is_done_but_never_answers_is_not_done_again(tmp_path: Path):
    run = Run("a", {"a": [Fate("silent")]})
    run.pool._do = Committer(run.store, tmp_path)
    outcome = run(watchdog=Watchdog(patience_s=30))
    assert list(outcome.records) == ["a"] and run.attempts_of("a") == [1]


def test_units_that_a_machine_cannot_finish_before_it_goes_are_stopped_and_done_elsewhere():
    """Rates are known from "s": 10 s a unit. The machine goes 3 s into a long one."""
    nodes = [SimNode("spot", speed=1, joins_s=0, goes_s=15, notice_s=3), SimNode("stays", speed=1, joins_s=0)]
    run = Run("abcd", nodes=nodes)
    outcome = run()
    assert len(outcome.records) == 4 and outcome.failures == {"preempted": 1}
    assert [cause for _, cause in run.pool.stopped] == [Cause.PREEMPTED]
    assert [node for _, _, node in run.pool.submitted].count("spot") == 2


def test_a_unit_that_ends_before_its_machine_goes_may_end():
    nodes = [SimNode("spot", speed=1, goes_s=21, notice_s=5), SimNode("stays", speed=1)]
    run = Run("abcd", nodes=nodes)
    assert run().failures == {} and run.pool.stopped == []


def test_a_slow_worker_kept_free_is_used_once_the_fast_one_is_late():
    """The fast one takes 1 s for "a" and hangs with "c", the slow one takes 10 s for "b" and then waits for the fast one."""
    run = Run("abcd", {"c": [HANGS]}, nodes=[SimNode("fast", 1, "gpu", 10), SimNode("slow", 1, "cpu", 1)])
    started: list[float] = []
    run.listener.on_event = lambda what, item: started.append(run.world.now) if (what, item) == ("started", "d") else None
    run(watchdog=Watchdog(patience_s=1000))
    assert run.nodes_of("d") == ["slow"] and 11 < started[0] < 15


def test_units_that_fail_everywhere_are_not_gathered_on_one_machine():
    """The first three machines each begin with one of them, and each other machine's workers are free at the same moment."""
    poison = {name: [Fate("raises", 0.1)] * 2 for name in "adg"}
    nodes = [SimNode(f"n{at}", 3) for at in range(6)]
    run = Run("abcdefghijklmnopqrstuvwxyz", poison, nodes=nodes)
    assert len(run().parked) == 3 and run.pool.shunned == []
    assert len({run.nodes_of(name)[1] for name in "adg"}) == 3


def test_machines_that_join_get_work():
    run = Run("abcdef", nodes=[SimNode("n1"), SimNode("late", joins_s=1.5)])
    run()
    assert "late" in {node for _, _, node in run.pool.submitted}


def test_the_first_stop_lets_what_runs_finish_and_submits_no_more():
    run = Run("abcde")
    run.listener.on_event = lambda what, item: setattr(run.stop, "count", 1)
    with pytest.raises(InterruptedRun) as caught:
        run()
    assert (caught.value.done, caught.value.total) == (2, 5)
    assert len(run.pool.submitted) == 2 and run.pool.closed is None


def test_a_stop_with_nothing_left_to_do_is_no_interruption():
    run = Run("ab")
    run.listener.on_event = lambda what, item: setattr(run.stop, "count", 1)
    assert len(run().records) == 2


def test_the_second_stop_kills_what_runs():
    run = Run("ab", {"a": [HANGS], "b": [HANGS]})
    run.listener.on_event = lambda what, item: setattr(run.stop, "count", 2)
    with pytest.raises(InterruptedRun):
        run()
    assert run.pool.closed is True and run.world.now < 1


def test_a_run_whose_job_another_took_over_ends_at_once():
    run = Run("ab", {"a": [HANGS]})
    run.listener.on_event = lambda what, item: setattr(run.stop, "is_lost", lambda: True)
    with pytest.raises(LeaseLost, match="0 of 2 done"):
        run()
    assert run.pool.closed is True


def test_nothing_is_wanted_of_the_pool_while_a_stop_is_heeded():
    run, wanted = Run("abc"), []
    run.pool.want = wanted.append  # type: ignore[method-assign]
    run.listener.on_event = lambda what, item: setattr(run.stop, "count", 1)
    with pytest.raises(InterruptedRun):
        run()
    assert wanted == sorted(wanted, reverse=True) and {3, 1, 0} == set(wanted)


def test_the_listener_sees_who_works():
    run = Run("ab")
    run()
    assert any(census.busy == 2 and len(census.nodes) == 2 for census in run.listener.censuses)


def test_every_answer_is_settled_before_it_is_told(tmp_path: Path):
    """The record of a unit told done is in the store, whatever became of the answer."""
    run = Run("abcd", {"a": [Fate("lost")], "b": [Fate("silent")], "c": [Fate("cut off", 0.9, survives_s=0.2)]})
    run.pool._do = Committer(run.store, tmp_path)

    def look(what: str, item: str) -> None:
        if what == "done":
            assert any(name.startswith(f"done/{item}-") for name in run.store.files)

    run.listener.on_event = look
    outcome = run(watchdog=Watchdog(patience_s=30))
    assert len(outcome.records) == 4

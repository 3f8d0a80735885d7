"""Stories about units of work: what is heard, and what the board makes of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.state import AttemptFailed, AttemptSucceeded, Board, Budgets, Cause, ItemState, cause_of
from tasks.errors import OutOfMemory, StorageError
from tasks.thrift import MOST_THRIFT
from tasks.work import Attempt
from tests.factories import record


def failed(item: str, attempt: int, cause: Cause = Cause.CODE, node: str = "n1") -> AttemptFailed:
    return AttemptFailed(item, attempt, cause, "boom", node)


def fail(board: Board, item: str, cause: Cause, node: str = "n1", num_nodes: int = 2) -> ItemState | None:
    """One more attempt, which fails."""
    attempt = board.start(item)
    state = board.handle(failed(item, attempt.number, cause, node), num_nodes)
    board.check()
    return state


def test_a_unit_runs_and_is_done():
    board = Board.of(["a", "b"])
    assert board.start("a") == Attempt(1, 0)
    assert board.handle(AttemptSucceeded("a", 1, record("a"))) is ItemState.DONE
    assert board.num_left == 1 and board.in_state(ItemState.DONE) == ["a"] and board.in_state(ItemState.WAITING) == ["b"]
    board.check()


def test_only_a_waiting_unit_starts():
    board = Board.of(["a"])
    board.start("a")
    with pytest.raises(ValueError, match="a is running, accepted: waiting"):
        board.start("a")


def test_attempts_are_numbered_one_by_one():
    board = Board.of(["a"])
    fail(board, "a", Cause.INFRA)
    fail(board, "a", Cause.CODE)
    assert board.start("a").number == 3


@pytest.mark.parametrize("cause", [c for c in Cause if c is not Cause.CRASH])
def test_each_cause_has_a_budget_of_its_own(cause: Cause):
    board, most = Board.of(["a"]), Budgets().of(cause)
    other = Cause.INFRA if cause is Cause.CODE else Cause.CODE
    fail(board, "a", other)
    for _ in range(most - 1):
        assert fail(board, "a", cause) is ItemState.WAITING
    assert fail(board, "a", cause) is ItemState.PARKED
    assert board.num_left == 0


def test_crashes_on_two_nodes_park_at_the_third():
    board = Board.of(["a"])
    assert fail(board, "a", Cause.CRASH, "n1") is ItemState.WAITING
    assert fail(board, "a", Cause.CRASH, "n2") is ItemState.WAITING
    assert fail(board, "a", Cause.CRASH, "n1") is ItemState.PARKED


def test_crashes_on_one_node_alone_count_half_while_there_are_others():
    board = Board.of(["a"])
    states = [fail(board, "a", Cause.CRASH, "n1", num_nodes=2) for _ in range(6)]
    assert states == [ItemState.WAITING] * 5 + [ItemState.PARKED]


def test_a_second_node_ends_it_once_the_crashes_suffice():
    board = Board.of(["a"])
    for _ in range(4):
        assert fail(board, "a", Cause.CRASH, "n1") is ItemState.WAITING
    assert fail(board, "a", Cause.CRASH, "n2") is ItemState.PARKED


def test_on_the_only_node_three_crashes_park():
    board = Board.of(["a"])
    states = [fail(board, "a", Cause.CRASH, "n1", num_nodes=1) for _ in range(3)]
    assert states == [ItemState.WAITING] * 2 + [ItemState.PARKED]


def test_memory_makes_the_next_attempt_thriftier_up_to_the_last_level():
    board = Board.of(["a"])
    seen = []
    for _ in range(MOST_THRIFT + 2):
        seen.append(board.start("a").thrift)
        assert board.handle(failed("a", len(seen), Cause.MEMORY)) is ItemState.WAITING
    assert seen == [*range(MOST_THRIFT), MOST_THRIFT, MOST_THRIFT]


def test_other_failures_keep_the_level_of_thrift():
    board = Board.of(["a"])
    fail(board, "a", Cause.MEMORY)
    fail(board, "a", Cause.INFRA)
    assert board.start("a").thrift == 1


def test_a_late_answer_of_an_old_attempt_changes_nothing():
    board = Board.of(["a"])
    fail(board, "a", Cause.INFRA)
    board.start("a")
    before = board.items["a"]
    assert board.handle(failed("a", 1)) is None
    assert board.handle(AttemptSucceeded("a", 1, record("a"))) is None
    assert board.items["a"] is before


def test_an_answer_while_nothing_runs_changes_nothing():
    board = Board.of(["a", "b"])
    board.start("a")
    board.handle(AttemptSucceeded("a", 1, record("a")))
    fail(board, "b", Cause.INFRA)
    before = dict(board.items)
    assert [board.handle(failed(item, 1)) for item in ("a", "b")] == [None, None]
    assert board.items == before and board.num_left == 1


def test_bad_nodes_are_those_where_the_work_or_the_node_was_to_blame():
    board = Board.of(["a"], Budgets(code=9, crash=9, stall=9, memory=9))
    for cause, node in ((Cause.CODE, "c"), (Cause.CRASH, "x"), (Cause.STALL, "s"), (Cause.MEMORY, "m")):
        fail(board, "a", cause, node)
    fail(board, "a", Cause.INFRA, "gone")
    fail(board, "a", Cause.PREEMPTED, "spot")
    fail(board, "a", Cause.BUSY, "full")
    fail(board, "a", Cause.CODE, "")
    assert board.items["a"].bad_nodes() == {"c", "x", "s", "m"}


def test_two_units_of_one_name_are_refused():
    with pytest.raises(ValueError, match="unique"):
        Board.of(["a", "a"])


def test_exceptions_are_told_apart():
    assert cause_of(ValueError("x")) is Cause.CODE
    assert cause_of(StorageError("job", "unreachable", "x")) is Cause.INFRA
    assert cause_of(StorageError("job", "full", "x")) is cause_of(StorageError("job", "denied", "x")) is Cause.STORAGE
    assert cause_of(MemoryError()) is cause_of(OutOfMemory("a", "cuda", "x")) is Cause.MEMORY


_NODES = st.sampled_from(["n1", "n2", "n3"])
_HEARD = st.tuples(st.sampled_from("abc"), st.integers(0, 6), st.sampled_from([None, *Cause]), _NODES, st.integers(1, 3))


@given(st.lists(_HEARD, max_size=60))
def test_whatever_is_heard_the_board_holds(heard: list[tuple[str, int, Cause | None, str, int]]):
    """Any answers of any attempts: done stays done, parked stays parked, and only the running attempt counts."""
    board = Board.of("abc")
    for item, attempt, cause, node, num_nodes in heard:
        if board.items[item].state is ItemState.WAITING:
            board.start(item)
        before = board.items[item]
        event = AttemptSucceeded(item, attempt, record(item)) if cause is None else failed(item, attempt, cause, node)
        state = board.handle(event, num_nodes)
        board.check()
        if before.state is not ItemState.RUNNING or attempt != before.attempt:
            assert state is None and board.items[item] is before
        else:
            assert state is board.items[item].state and state is not ItemState.RUNNING
            assert len(board.items[item].failures) == len(before.failures) + (cause is not None)

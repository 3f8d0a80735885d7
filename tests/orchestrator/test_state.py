"""Stories about units of work: what is heard, and what the board makes of it."""

import pytest

from orchestrator.state import AttemptFailed, AttemptSucceeded, Board, Budgets, Cause, ItemState, Park, Submit
from tests.factories import record


def failed(item: str, attempt: int, cause: Cause = Cause.CODE) -> AttemptFailed:
    return AttemptFailed(item, attempt, cause, "boom")


def test_units_are_submitted_in_order_and_only_to_free_workers():
    board = Board.of(["a", "b", "c"])
    assert board.take(2) == [Submit("a", 1), Submit("b", 1)]
    assert board.take(0) == []
    assert board.take(5) == [Submit("c", 1)]


def test_a_failed_unit_is_tried_again_with_the_next_attempt_number_before_the_others():
    board = Board.of(["a", "b", "c"])
    board.take(1)
    assert board.handle(failed("a", 1)) == []
    assert board.take(2) == [Submit("a", 2), Submit("b", 1)]


def test_a_unit_is_parked_when_the_budget_of_one_cause_is_spent_and_the_others_go_on():
    board = Board.of(["a", "b"], Budgets(code=2))
    board.take(2)
    board.handle(failed("a", 1))
    board.take(1)
    last = failed("a", 2)
    assert board.handle(last) == [Park("a", last)]
    assert not board.finished
    board.handle(AttemptSucceeded("b", 1, record("b")))
    assert board.finished
    assert board.in_state(ItemState.PARKED) == ["a"] and board.in_state(ItemState.DONE) == ["b"]


def test_causes_have_budgets_of_their_own():
    board = Board.of(["a"], Budgets(code=2, crash=2, infra=3))
    for attempt, cause in enumerate((Cause.CODE, Cause.CRASH, Cause.INFRA, Cause.INFRA), start=1):
        board.take(1)
        assert board.handle(failed("a", attempt, cause)) == []
    board.take(1)
    assert [park.item for park in board.handle(failed("a", 5, Cause.CRASH))] == ["a"]


def test_a_late_answer_of_an_old_attempt_changes_nothing():
    board = Board.of(["a"])
    board.take(1)
    board.handle(failed("a", 1, Cause.INFRA))
    board.take(1)
    assert board.handle(failed("a", 1)) == []
    assert board.handle(AttemptSucceeded("a", 1, record("a"))) == []
    assert board.items["a"].state is ItemState.RUNNING and board.items["a"].attempt == 2


def test_a_second_answer_to_the_same_attempt_changes_nothing():
    board = Board.of(["a", "b"])
    board.take(2)
    board.handle(AttemptSucceeded("a", 1, record("a")))
    assert board.handle(failed("a", 1)) == []
    assert board.items["a"].state is ItemState.DONE
    assert not board.finished


def test_a_draining_board_submits_nothing_and_is_finished_when_what_runs_has_answered():
    board = Board.of(["a", "b"])
    board.take(1)
    board.drain()
    assert board.take(1) == [] and not board.finished
    board.handle(AttemptSucceeded("a", 1, record("a")))
    assert board.finished
    assert board.items["b"].state is ItemState.WAITING


def test_nothing_to_do_is_finished_at_once():
    assert Board.of([]).finished


def test_two_units_of_one_name_are_refused():
    with pytest.raises(ValueError, match="unique"):
        Board.of(["a", "a"])

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from vsalign.remember import Remembered


def test_results_come_by_number_and_are_worked_out_once() -> None:
    asked: list[int] = []

    def work(n: int) -> int:
        asked.append(n)
        return n * n

    squares: Remembered[int] = Remembered(10)
    assert squares.gather([3, 1, 2], work) == {3: 9, 1: 1, 2: 4}
    assert squares.gather([2, 3, 4], work) == {2: 4, 3: 9, 4: 16}
    assert asked == [3, 1, 2, 4]


def test_the_longest_unused_result_is_forgotten_first() -> None:
    squares: Remembered[int] = Remembered(3)
    squares.gather([1, 2, 3], lambda n: n * n)
    squares.gather([1], lambda n: n * n)
    squares.gather([4], lambda n: n * n)
    assert len(squares) == 3
    assert squares.known([1, 2, 3, 4]) == {1: 1, 3: 9, 4: 16}


def test_more_numbers_than_there_is_room_for_are_still_all_answered() -> None:
    squares: Remembered[int] = Remembered(2)
    assert squares.gather(range(9), lambda n: n * n) == {n: n * n for n in range(9)}
    assert len(squares) <= 2


def test_what_a_reader_knows_stays_its_own_when_it_is_forgotten() -> None:
    squares: Remembered[int] = Remembered(1)
    squares.gather([5], lambda n: n * n)
    known = squares.known([5, 6])
    squares.clear()
    assert known == {5: 25}
    assert len(squares) == 0


def test_a_result_under_way_is_waited_for_and_not_worked_out_twice() -> None:
    begun, go_on, asked = threading.Event(), threading.Event(), []

    def slow(n: int) -> int:
        asked.append(n)
        begun.set()
        assert go_on.wait(10)
        return n

    numbers: Remembered[int] = Remembered(1)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(numbers.gather, [7], slow)
        assert begun.wait(10)
        assert numbers.known([7]) == {}
        second = pool.submit(numbers.gather, [7], slow)
        time.sleep(0.05)
        assert not second.done()
        go_on.set()
        assert first.result(10) == second.result(10) == {7: 7}
    assert asked == [7]


def test_an_error_reaches_all_who_wait_and_is_not_remembered() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def fail(n: int) -> int:
        begun.set()
        assert go_on.wait(10)
        raise OSError(f"frame {n}")

    numbers: Remembered[int] = Remembered(4)
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(numbers.gather, [1], fail)]
        assert begun.wait(10)
        waiting.append(pool.submit(numbers.gather, [1], fail))
        time.sleep(0.05)
        go_on.set()
        for future in waiting:
            with pytest.raises(OSError, match="frame 1"):
                future.result(10)
    assert numbers.gather([1], lambda n: n) == {1: 1}


def test_threads_that_want_each_others_results_do_not_lock_up() -> None:
    numbers: Remembered[int] = Remembered(40)
    barrier = threading.Barrier(2)

    def gather(order: list[int]) -> dict[int, int]:
        barrier.wait(10)
        return numbers.gather(order, lambda n: time.sleep(0.001) or n)

    with ThreadPoolExecutor(2) as pool:
        results = [pool.submit(gather, list(range(30))), pool.submit(gather, list(range(29, -1, -1)))]
        assert all(future.result(20) == {n: n for n in range(30)} for future in results)

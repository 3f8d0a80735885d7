"""Results that several threads need, each worked out once and kept as long as there is room."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from threading import Lock


class Remembered[T]:
    """The last ``capacity`` results of a pure function of a number, shared between threads.

    A result that is being worked out elsewhere is waited for, never worked out twice. Whoever works never waits, so threads
    that want each other's results can't lock up. What was forgotten is worked out again: only time depends on ``capacity``.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._results: OrderedDict[int, Future[T]] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._results)

    def known(self, numbers: Iterable[int]) -> dict[int, T]:
        """What of ``numbers`` is there, without any work; the caller's own from now on, whatever is forgotten here."""
        with self._lock:
            found = {n: result for n in numbers if (result := self._results.get(n)) is not None and result.done()}
            for number in found:
                self._results.move_to_end(number)
        return {number: result.result() for number, result in found.items()}

    def gather(self, numbers: Sequence[int], work: Callable[[int], T]) -> dict[int, T]:
        """``work(n)`` of all ``numbers``; what ``work`` raises goes to all who wait for it and is not remembered."""
        promised = {number: self._promise(number, work) for number in numbers}
        return {number: result.result() for number, result in promised.items()}

    def clear(self) -> None:
        """Forget everything that is finished or under way; who waits for it still gets it."""
        with self._lock:
            self._results.clear()

    def _promise(self, number: int, work: Callable[[int], T]) -> Future[T]:
        """The result of ``number``: known, under way in another thread, or worked out here and now."""
        with self._lock:
            known = self._results.get(number)
            if known is not None:
                self._results.move_to_end(number)
                return known
            mine = self._results[number] = Future()
            self._forget_oldest()
        try:
            mine.set_result(work(number))
        except BaseException as error:
            with self._lock:
                self._results.pop(number, None)
            mine.set_exception(error)
            raise
        return mine

    def _forget_oldest(self) -> None:
        excess = len(self._results) - self._capacity
        # What is under way stays, or the next to ask would begin it a second time.
        for number in [n for n, result in self._results.items() if result.done()][: max(0, excess)]:
            del self._results[number]

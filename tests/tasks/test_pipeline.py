"""Steps side by side: order, bounded memory, and no thread left behind."""

import itertools
import threading
import time
from contextlib import closing

import pytest

from tasks.pipeline import Waits, prefetch


def test_items_come_in_order():
    assert list(prefetch(iter(range(100)), 3)) == list(range(100))


def test_no_more_than_depth_items_wait():
    made = []
    with closing(prefetch((made.append(i) or i for i in range(100)), 3)) as items:
        next(items)
        time.sleep(0.2)
        assert len(made) <= 1 + 3 + 1


def test_an_error_of_the_producer_reaches_the_consumer_after_the_good_items():
    def produce():
        yield 1
        raise ValueError("broken frame")

    items = prefetch(produce(), 3)
    assert next(items) == 1
    with pytest.raises(ValueError, match="broken frame"):
        next(items)


def test_leaving_early_ends_the_thread_and_closes_the_producer():
    closed = threading.Event()

    def produce():
        try:
            yield from itertools.count()
        finally:
            closed.set()

    with closing(prefetch(produce(), 2)) as items:
        assert next(items) == 0
    assert closed.is_set()
    assert not [thread for thread in threading.enumerate() if thread.name == "prefetch"]


def test_who_waits_is_told():
    slow_consumer, slow_producer = Waits(), Waits()
    for _ in prefetch(range(8), 1, slow_consumer):
        time.sleep(0.03)
    assert list(prefetch((time.sleep(0.03) or n for n in range(8)), 1, slow_producer)) == list(range(8))
    assert slow_consumer.for_room > 0.1 > slow_consumer.for_items
    assert slow_producer.for_items > 0.1 > slow_producer.for_room

"""Who works on a job: lease.json in its directory, renewed while a supervisor lives. Politeness, not correctness: should two
work at once all the same, records keep the result right, and only work is wasted.

No machine's clock is compared with another's: whoever finds a lease of another machine looks whether its beat moves.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from orchestrator.leasenote import LeaseNote, Me, Standing, judge
from tasks.store import JobStore
from vsalign.errors import InputError, VsalignError

LEASE = "lease.json"
TTL_S = 30.0
#: No lease is watched for longer than this, whatever it says of itself.
MOST_TTL_S = 600.0
#: A lease is renewed this many times within its time to live.
RENEWALS = 3
STOP_TIMEOUT_S = 2.0
#: Rounds of look and swap before the store, or whoever works there, is too restless.
MOST_ROUNDS = 20

#: Tokens of the leases that this process holds: one of its number and start without such a token was not given back.
_HELD_HERE: set[str] = set()

Say = Callable[[str], None]


def read_lease(store: JobStore) -> LeaseNote | None:
    """The lease as it lies there; None when there is none, or a torn one."""
    found = store.read_tagged(LEASE)
    return LeaseNote.from_json(found[0]) if found else None


@contextmanager
def held(store: JobStore, steal: bool, say: Say, ttl_s: float = TTL_S) -> Iterator[Lease]:
    """The job's lease, renewed by a thread until the block is left. ``steal`` takes it from whoever has it.

    Raises InputError when another supervisor is at work on this job.
    """
    lease = Lease(store, _take(store, steal, say, ttl_s))
    try:
        yield lease
    finally:
        lease.release()


class Lease:
    """A lease that is ours until ``release``, or until another takes it, which ``lost`` tells at the next renewal."""

    def __init__(self, store: JobStore, note: LeaseNote) -> None:
        self._store, self._note = store, note
        self._every_s = note.ttl_s / RENEWALS
        self._taken, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._keep, name="vsalign-lease", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> bool:
        """Another has taken it. Storage that does not answer takes nothing away: the first renewal after it tells."""
        return self._taken.is_set()

    def release(self) -> None:
        """Give it back if it is ours still; a store that does not answer leaves it to run out."""
        self._over.set()
        self._thread.join(STOP_TIMEOUT_S)
        _HELD_HERE.discard(self._note.token)
        try:
            found = self._store.read_tagged(LEASE)
            if found is not None and _token(found[0]) == self._note.token:
                # Not removed: between a look and a removal another could have come, and lose his.
                self._store.swap(LEASE, replace(self._note, released=True).to_json(), found[1])
        except (OSError, VsalignError):
            return

    def _keep(self) -> None:
        while not self._over.wait(self._every_s) and not self._taken.is_set():
            try:
                self._renew()
            except Exception:
                # Whatever a store raises: the thread must live on, for the next renewal may succeed.
                continue

    def _renew(self) -> None:
        for _ in range(MOST_ROUNDS):
            found = self._store.read_tagged(LEASE)
            if found is None:
                return  # removed by hand, which takes it from nobody; the next supervisor makes a new one
            if _token(found[0]) not in {self._note.token, None}:
                self._taken.set()
                return
            self._note = replace(self._note, beat=self._note.beat + 1, written=time.time())
            if self._store.swap(LEASE, self._note.to_json(), found[1]):
                return
        raise TimeoutError(f"{LEASE} could not be renewed: it changes all the time")


def _take(store: JobStore, steal: bool, say: Say, ttl_s: float) -> LeaseNote:
    """Create the lease, or take over one that nobody renews. Whoever swaps first has it; the other looks again."""
    seen: LeaseNote | None = None
    for _ in range(MOST_ROUNDS):
        found = store.read_tagged(LEASE)
        here = _here()
        if found is None:
            mine = here.note(1, ttl_s)
            if _claimed(mine, partial(store.create, LEASE, mine.to_json())):
                return mine
            continue
        seen = LeaseNote.from_json(found[0])
        standing = judge(seen, here)
        if not steal:
            if standing == "works":
                raise _at_work(seen)
            if standing == "unknown" and not _runs_out(store, found, seen, say, ttl_s):
                continue
        mine = here.note(seen.epoch + 1 if seen else 1, ttl_s)
        if _claimed(mine, partial(store.swap, LEASE, mine.to_json(), found[1])):
            if seen is not None and not seen.released:
                say(f"took the job over from {seen.who()}" + ("" if standing != "gone" else ", which has ended"))
            return mine
    raise _at_work(seen)


def _claimed(mine: LeaseNote, write: Callable[[], bool]) -> bool:
    """Write our lease; it counts as held by this process before anybody can read it."""
    _HELD_HERE.add(mine.token)
    written = False
    try:
        written = write()
    finally:
        if not written:
            _HELD_HERE.discard(mine.token)
    return written


def _here() -> Me:
    return Me.here(frozenset(_HELD_HERE))


def _runs_out(store: JobStore, found: tuple[bytes, str], seen: LeaseNote | None, say: Say, ttl_s: float) -> bool:
    """Watch a lease of another machine for its time to live and a renewal more: True when it stays as it is, False when it was
    given back, removed or taken by a third. Raises InputError when its beat moves."""
    patience_s = lease_patience(seen, ttl_s)
    who = seen.who() if seen else "another supervisor"
    say(f"this job was last worked on by {who}; waiting {patience_s:.0f} s to see whether it still is (--steal does not wait)")
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        time.sleep(min(ttl_s / 10, max(until - time.monotonic(), 0.01)))
        now = store.read_tagged(LEASE)
        if now is None:
            return False
        if now[0] != found[0]:
            note = LeaseNote.from_json(now[0])
            if note is not None and not note.released and (seen is None or note.token == seen.token):
                raise _at_work(note)
            return False
    return True


def lease_patience(seen: LeaseNote | None, ttl_s: float = TTL_S) -> float:
    """Seconds without a beat after which a lease counts as left behind, by the clock of whoever looks."""
    given_s = min(max(seen.ttl_s, 0.0), MOST_TTL_S) if seen else ttl_s
    return given_s * (1 + 1 / RENEWALS)


def standing_of(seen: LeaseNote | None) -> Standing:
    """What one look at a lease tells on this machine."""
    return judge(seen, _here())


def _at_work(note: LeaseNote | None) -> InputError:
    who = note.who() if note else "on an unknown machine"
    return InputError(f"another vsalign ({who}) is at work on this job; --steal takes it over")


def _token(data: bytes) -> str | None:
    """Whose lease it is; None for a torn one, which is nobody's."""
    note = LeaseNote.from_json(data)
    return note.token if note else None

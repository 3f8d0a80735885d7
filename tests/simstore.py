"""A store in memory whose calls can fail, lose their answers or kill whoever calls, and a worker that commits to it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path

from tasks.commit import commit, find_record
from tasks.errors import StorageError
from tasks.work import Attempt, Record, Work


class Died(BaseException):
    """The process that called is gone."""


def _call(method: Callable) -> Callable:
    """A call of the store, which ``on_call`` may forbid, or fail before or after its effect."""

    @wraps(method)
    def call(self: SimStore, *args: object, **options: object) -> object:
        fault = self.on_call(method.__name__, str(args[1] if method.__name__ == "publish" else args[0]))
        if fault == "dies before":
            raise Died
        if fault == "fails before":
            raise StorageError(self.location, "unreachable", "no answer")
        if self.is_full and method.__name__ in ("create", "replace", "publish"):
            raise StorageError(self.location, "full", "no space")
        result = method(self, *args, **options)
        if fault == "dies after":
            raise Died
        if fault == "fails after":
            raise StorageError(self.location, "unreachable", "answer lost")
        return result

    return call


class SimStore:
    """A JobStore in memory. ``on_call(method, name)`` gives "", or {"fails", "dies"} + {" before", " after"} the effect."""

    location = "memory"

    def __init__(self, on_call: Callable[[str, str], str] = lambda method, name: "", folder: Path = Path()) -> None:
        self.on_call, self.is_full, self._folder = on_call, False, folder
        self.files: dict[str, bytes] = {}
        #: Names that listings do not show yet, and names gone that they still show.
        self.unseen: set[str] = set()
        self.ghosts: set[str] = set()

    @_call
    def create(self, name: str, data: bytes) -> bool:
        return self.files.setdefault(name, data) is data

    @_call
    def replace(self, name: str, data: bytes) -> None:
        assert not name.startswith("done/"), "a record is created, never replaced"
        self.files[name] = data

    @_call
    def publish(self, local: Path, name: str) -> None:
        assert name not in self.files, f"{name} is published twice"
        self.files[name] = local.read_bytes()
        local.unlink()

    @_call
    def read(self, name: str) -> bytes | None:
        return self.files.get(name)

    @_call
    def fetch(self, name: str, fresh: bool = False) -> Path:
        if name not in self.files:
            raise FileNotFoundError(name)
        local = self._folder / name.replace("/", "-")
        local.write_bytes(self.files[name])
        return local

    @_call
    def size(self, name: str) -> int | None:
        return len(self.files[name]) if name in self.files else None

    @_call
    def sizes(self, folder: str) -> dict[str, int]:
        shown = {*self.files, *self.ghosts} - self.unseen
        return {name: len(self.files.get(name, b"?")) for name in sorted(shown) if name.rpartition("/")[0] == folder}

    def names(self, folder: str) -> list[str]:
        return list(self.sizes(folder))

    @_call
    def retire(self, name: str) -> None:
        if name not in self.files:
            raise FileNotFoundError(name)
        self.files[f"retired/{len(self.files)}-{name}"] = self.files.pop(name)

    @_call
    def remove(self, names: Iterable[str]) -> None:
        for name in names:
            self.files.pop(name, None)


def result_of(work: Work) -> bytes:
    """The bytes that doing ``work`` gives: equal fingerprints, equal bytes."""
    return hashlib.sha256(work.fingerprint.encode()).digest() * 3


@dataclass(slots=True)
class Committer:
    """Does units as ``tasks.run.perform`` does: a result that is there is returned, else made and committed."""

    store: SimStore
    folder: Path
    num_made: int = 0

    def __call__(self, work: Work, attempt: Attempt, seconds: float) -> Record:
        done = find_record(self.store, work)
        if done is not None:
            return done
        self.num_made += 1
        made = self.folder / f"{work.name}-{self.num_made}.npy"
        made.write_bytes(result_of(work))
        return commit(self.store, work, made, folder="scan", attempt=attempt.number, seconds=seconds)

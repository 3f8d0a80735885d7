"""What a folder promises where disks and mounts misbehave: no hard links, lost answers, stale absences, full disks."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tasks.errors import StorageError
from tasks.localstore import LocalStore
from tasks.store import publish_file
from vsalign.errors import InputError


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "job")


def failing(number: int):
    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_without_hard_links_a_name_is_still_created_once(store: LocalStore, monkeypatch: pytest.MonkeyPatch, number: int):
    monkeypatch.setattr("os.link", failing(number))
    assert store.create("done/a.json", b"first") and not store.create("done/a.json", b"second")
    assert store.read("done/a.json") == b"first"


@pytest.mark.parametrize("number", [errno.EEXIST, errno.EIO, errno.EPERM])
def test_a_link_that_was_made_counts_whatever_the_call_reported(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, number: int
):
    """NFS sends a call again when its answer was lost; the second finds the first one's link."""
    link = os.link

    def made_but_not_told(source: Path, target: Path) -> None:
        link(source, target)
        failing(number)()

    monkeypatch.setattr("os.link", made_but_not_told)
    if number == errno.EIO:
        with pytest.raises(StorageError):
            store.create("done/a.json", b"first")
    else:
        assert store.create("done/a.json", b"first")
    monkeypatch.setattr("os.link", link)
    assert not store.create("done/a.json", b"second") and store.read("done/a.json") == b"first"
    assert [path.name for path in (store.root / "done").iterdir()] == ["a.json"]


def test_a_name_said_to_be_absent_is_asked_for_again(store: LocalStore, monkeypatch: pytest.MonkeyPatch):
    store.create("done/a.json", b"first")
    opened, stale = Path.open, [True]

    def stale_at_first(path: Path, *args: object, **kwargs: object):
        if stale and path.name == "a.json":
            stale.clear()
            raise FileNotFoundError(errno.ENOENT, "stale", str(path))
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", stale_at_first)
    assert store.size("done/a.json") == 5
    stale.append(True)
    assert store.read("done/a.json") == b"first"


@pytest.mark.parametrize(
    ("number", "what"),
    [
        (errno.ENOSPC, "full"),
        (errno.EDQUOT, "full"),
        (errno.EACCES, "denied"),
        (errno.EROFS, "denied"),
        (errno.EIO, "unreachable"),
        (errno.ESTALE, "unreachable"),
    ],
)
def test_faults_of_the_disk_are_told_as_such_and_leave_nothing(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, number: int, what: str
):
    store.replace("plan.json", b"before")
    monkeypatch.setattr("os.fsync", failing(number))
    for write in (lambda: store.create("a.json", b"x"), lambda: store.replace("plan.json", b"x")):
        with pytest.raises(StorageError) as error:
            write()
        assert (error.value.what, error.value.location) == (what, store.location) and "\n" not in str(error.value)
    with pytest.raises(InputError):
        store.self_test()
    assert store.read("a.json") is None and store.read("plan.json") == b"before"
    assert [path.name for path in store.root.iterdir()] == ["plan.json"]


def test_a_read_only_folder_is_refused_in_one_line(store: LocalStore, monkeypatch: pytest.MonkeyPatch):
    store.replace("job.json", b"{}")
    store.root.chmod(0o555)
    try:
        if os.getuid() == 0:  # root may write all the same: the mount says no
            monkeypatch.setattr("tasks.localstore._write_aside", failing(errno.EROFS))
        with pytest.raises(InputError) as error:
            store.self_test()
    finally:
        store.root.chmod(0o755)
    assert str(error.value).startswith(f"{store.location}: access refused (") and "\n" not in str(error.value)


def test_the_self_test_tells_a_folder_where_a_name_can_be_created_twice(store: LocalStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.link", os.replace)
    with pytest.raises(InputError, match="create a name only once"):
        store.self_test()


def test_a_line_after_a_torn_one_begins_anew(store: LocalStore):
    store.append("journal.jsonl", '{"a": 1}')
    with (store.root / "journal.jsonl").open("ab") as log:
        log.write(b'{"torn')
    again = LocalStore(store.root)
    again.append("journal.jsonl", '{"b": 2}')
    again.append("journal.jsonl", '{"c": 3}')
    assert store.read_log("journal.jsonl") == b'{"a": 1}\n{"torn\n{"b": 2}\n{"c": 3}\n'


def test_a_file_from_another_disk_is_published_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    replace, local, target = os.replace, tmp_path / "made", tmp_path / "there" / "film.mkv"
    local.write_bytes(b"film")
    target.parent.mkdir()

    def across_disks(source: Path, to: Path) -> None:
        if source == local:
            failing(errno.EXDEV)()
        replace(source, to)

    monkeypatch.setattr("os.replace", across_disks)
    publish_file(local, target)
    assert target.read_bytes() == b"film" and not local.exists() and list(target.parent.iterdir()) == [target]


def test_a_file_in_the_folders_place_has_entries_so_that_it_is_not_taken_for_nothing(tmp_path: Path):
    (tmp_path / "job").write_text("a note")
    store = LocalStore(tmp_path / "job")
    assert store.entries() == {"job"} and store.read("job.json") is None


def test_a_swap_in_a_folder_that_is_gone_fails_like_one_of_a_name_that_is_gone(store: LocalStore, monkeypatch):
    store.create("lease.json", b"one")
    _, tag = store.read_tagged("lease.json") or (b"", "")
    with monkeypatch.context() as racing:
        # Dropped between the look and the write.
        racing.setattr("tasks.localstore._replace", lambda target, data: (store.drop(), target.write_bytes(data)))
        assert not store.swap("lease.json", b"two", tag)
    assert not store.swap("lease.json", b"two", tag) and not store.root.exists()


def test_a_folder_that_somebody_still_writes_into_is_dropped(store: LocalStore, monkeypatch: pytest.MonkeyPatch):
    store.create("lease.json", b"one")
    rmdir, late = os.rmdir, [1, 2]

    def written_meanwhile(path: object, **where: object) -> None:
        if late and store.root.exists():
            (store.root / f".lease.json.{late.pop()}").write_bytes(b"")
        rmdir(path, **where)

    monkeypatch.setattr("os.rmdir", written_meanwhile)
    store.drop()
    assert not store.root.exists() and not late


def test_a_folder_that_may_not_be_dropped_is_told_at_once(store: LocalStore, monkeypatch: pytest.MonkeyPatch):
    store.create("lease.json", b"one")
    monkeypatch.setattr("os.rmdir", failing(errno.EACCES))
    with pytest.raises(StorageError, match="access refused"):
        store.drop()


def test_scratch_is_cleared_and_never_listed(store: LocalStore):
    (store.scratch() / "half.mkv").write_bytes(b"half")
    assert store.names("") == []
    store.clear_scratch()
    assert store.entries() == set()

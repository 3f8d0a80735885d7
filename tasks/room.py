"""Room on this machine's disks, looked for before a long write instead of found missing in its midst."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from tasks import nodefolder
from tasks.errors import StorageError
from tasks.location import is_remote


def check_join_room(job_dir: str, part: Path, num_bytes: int) -> None:
    """There is room for a film of about ``num_bytes`` at ``part`` and, where the job lies in an object store, for copies of all
    that goes into it. Raises StorageError "full" with what is free and what is needed."""
    needs = [(part.parent, num_bytes)]
    if is_remote(job_dir):
        copies = nodefolder.node_folder("copies")
        needs.append((copies, max(num_bytes - _bytes_in(copies), 0)))
    check_room(needs)


def check_room(needs: Sequence[tuple[Path, int]]) -> None:
    """The disks of these folders have room for so many bytes each, folders on one disk together. Raises StorageError."""
    wanted: dict[int, tuple[Path, int]] = {}
    for folder, size in needs:
        device = os.stat(folder).st_dev
        wanted[device] = (folder, wanted.get(device, (folder, 0))[1] + size)
    for folder, size in wanted.values():
        free = shutil.disk_usage(folder).free
        if free < size:
            raise StorageError(str(folder), "full", f"{free / 1e6:.0f} MB free, joining the film needs {size / 1e6:.0f} MB")


def _bytes_in(folder: Path) -> int:
    """What is kept there may be just what is needed, and makes way where it is not."""
    total = 0
    for path in folder.iterdir():
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total

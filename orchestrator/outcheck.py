"""What is to be written can be written: OUT, a plot, room on the disks. Nothing here writes: each fault is an InputError."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from orchestrator.config import JobConfig
from orchestrator.estimate import Estimate
from tasks import location
from tasks.errors import StorageError
from tasks.location import is_remote
from tasks.outfile import out_size
from tasks.probe import parse_source
from tasks.store import open_store
from vsalign.errors import InputError

#: Pictures that --plot draws.
PLOT_SUFFIXES = (".png", ".svg")


def check_out_path(config: JobConfig, out_may_exist: bool) -> None:
    """OUT lies where we can write, is no input, and does not exist unless it may; and the job directory can be written."""
    if is_remote(config.out):
        _check_address(config, out_may_exist)
    else:
        _check_target(config, Path(config.out), out_may_exist)
    if not is_remote(config.job_location):
        _check_folder(config.out, _existing(config.job_location))


def check_plot_path(config: JobConfig, plot: str) -> None:
    """The same for a picture of the frame map, which may not be the map either."""
    path = Path(plot)
    if path.suffix.lower() not in PLOT_SUFFIXES or is_remote(plot):
        raise InputError(f"--plot {plot}: accepted is a path that ends in {' or '.join(PLOT_SUFFIXES)}")
    for name, given in (("OUT", config.out), ("the frame map", config.sync.frame_map)):
        if given and _same_file(given, plot):
            raise InputError(f"--plot {plot} is {name} itself; accepted: another file")
    _check_target(config, path, False)


def _check_address(config: JobConfig, out_may_exist: bool) -> None:
    """OUT as an object: seen to only by reading here; ``tasks.outfile.check_writable`` comes when the job is opened."""
    if config.out.endswith("/") or not location.name(config.out):
        raise InputError(f"{config.out} is a folder; accepted: the address of an object")
    _check_no_input(config, config.out)
    try:
        # An absent object does not tell whether its bucket is there; a listing does.
        exists = out_size(config.out) is not None or bool(open_store(location.parent(config.out)).names("."))
    except StorageError as error:
        raise InputError(str(error)) from None
    _check_absent(config, exists, config.out, out_may_exist)


def _check_target(config: JobConfig, out: Path, out_may_exist: bool) -> None:
    """``out`` can be written and is no input."""
    if not out.parent.is_dir():
        raise InputError(f"{out}: the folder {out.parent} does not exist; accepted: a path in an existing folder")
    if out.is_dir():
        raise InputError(f"{out} is a folder; accepted: the path of a file")
    _check_no_input(config, str(out))
    _check_folder(str(out), out.parent)
    _check_absent(config, out.exists(), str(out), out_may_exist)


def _check_no_input(config: JobConfig, out: str) -> None:
    for name, given in (
        ("CLIP", config.clip),
        ("REF", config.ref),
        ("FALLBACK", config.align.fallback),
        ("MASK", config.align.mask),
    ):
        if given and _same_file(parse_source(given).path, out):
            raise InputError(f"{out} is {name} itself; accepted: another file")


def _check_folder(out: str, folder: Path) -> None:
    if not os.access(folder, os.W_OK) or _read_only_mount(folder):
        raise InputError(f"{out}: the folder {folder} is read-only; accepted: a folder that can be written")


def _check_absent(config: JobConfig, exists: bool, out: str, out_may_exist: bool) -> None:
    if exists and not (config.output.overwrite or out_may_exist):
        raise InputError(f"{out} exists; --overwrite replaces it")


def check_disk(config: JobConfig, need: Estimate) -> None:
    """The disks of the job directory and of OUT have room for what is still missing; a bucket always has. Raises InputError."""
    still = max(need.job_dir_bytes - _bytes_in(config.job_location), 0)
    wanted = [(config.job_location, still), (config.out, need.output_bytes if still else 0)]
    needs: dict[int, tuple[Path, int]] = {}
    for place, size in wanted:
        if is_remote(place):
            continue
        folder = _existing(place)
        device = os.stat(folder).st_dev
        needs[device] = (folder, needs.get(device, (folder, 0))[1] + size)
    for folder, size in needs.values():
        free = shutil.disk_usage(folder).free
        if free < size:
            raise InputError(
                f"the disk of {folder} has {free / 1e9:.1f} GB free and the job needs about {size / 1e9:.1f} GB; "
                f"free some, or put OUT or --job elsewhere"
            )


def _bytes_in(job_location: str) -> int:
    """Bytes of results that a job has already."""
    if is_remote(job_location):
        return 0
    store = open_store(job_location)
    return sum(size for folder in ("scan", "costs", "seg", "sound") for size in store.sizes(folder).values())


def _same_file(one: str, other: str) -> bool:
    if is_remote(one) or is_remote(other):
        return one.rstrip("/") == other.rstrip("/")
    try:
        return os.path.samefile(one, other)
    except OSError:
        return os.path.abspath(one) == os.path.abspath(other)


def _read_only_mount(folder: Path) -> bool:
    """root may write anywhere as far as os.access knows; a read-only mount refuses it all the same."""
    return bool(os.statvfs(folder).f_flag & os.ST_RDONLY) or not folder.stat().st_mode & 0o222


def _existing(place: str) -> Path:
    """The folder, or the nearest one above it that exists."""
    folder = Path(place)
    while not folder.is_dir():
        folder = folder.parent
    return folder

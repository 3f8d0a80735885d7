"""Check a published output against the job that made it, any time later."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orchestrator.jobdir import saved_config
from tasks import location
from tasks.colourcheck import colour_problems
from tasks.contents import Contents
from tasks.errors import StorageError
from tasks.final import Final, read_final
from tasks.messages import FrameIndex
from tasks.seamplan import PicturePlan
from tasks.seams import check_packets, check_seams, read_seams
from tasks.sources import read_probe
from tasks.stitch import verify
from tasks.store import JobStore, file_sha256, open_store
from vsalign.errors import InputError

#: Of a film's seams so many are decoded; with ``full`` all.
SEAMS_LOOKED_AT = 32
#: Lines of one kind that are told one by one.
_MOST_LINES = 10
_EARLIER = "an earlier version made this film and kept nothing to compare"


@dataclass(frozen=True, slots=True)
class Verified:
    """What a check of ``out`` gave: ``problems``, what was found ``as_planned``, and what was ``left_out`` and why, each
    a clause."""

    out: str
    problems: tuple[str, ...]
    as_planned: tuple[str, ...]
    left_out: tuple[str, ...] = ()

    def __add__(self, other: Verified) -> Verified:
        return Verified(
            self.out, self.problems + other.problems, self.as_planned + other.as_planned, self.left_out + other.left_out
        )


def check_output_file(out: str, job_dir: str, full: bool = False) -> Verified:
    """Compare ``out`` with what the job in ``job_dir`` published there; both may be paths or addresses.

    A file with other bytes is checked all the same: copied by another program it may hold the same film. Raises InputError
    without output or job.
    """
    beside = open_store(location.parent(out))  # what it fetches lies here as long as it lives
    path = _fetched(beside, out)
    saved_config(job_dir)
    store = open_store(job_dir)
    final = read_final(store)
    if final is None:
        raise InputError(f"{job_dir} has not published an output yet")
    found = _bytes(out, path, final) + _packets(out, path, store, final)
    found += _pictures(out, path, store, final, full)
    # Of an object a copy was read, whose name tells nobody anything.
    told = tuple(line.replace(str(path), out) for line in found.problems)
    return Verified(out, told, found.as_planned, found.left_out)


def _fetched(beside: JobStore, out: str) -> Path:
    try:
        return beside.fetch(location.name(out)).absolute()
    except (FileNotFoundError, IsADirectoryError):
        raise InputError(f"{out}: no such file") from None
    except StorageError as error:
        raise InputError(str(error)) from None


def _bytes(out: str, path: Path, final: Final) -> Verified:
    if final.sha256 == file_sha256(path):
        return Verified(out, (), ("every byte",))
    return Verified(out, ("its bytes are not those that were published",), ())


def _packets(out: str, path: Path, store: JobStore, final: Final) -> Verified:
    """Number and times of the frames, and all that the film holds beside its picture."""
    ref, expected = read_probe(store, "ref").index, final.expected
    found = verify(str(path), ref.pts, ref.time_base, expected)
    problems, planned = (*found.problems, *found.lost), [f"{len(ref)} frames and their times"]
    if expected is None:
        return Verified(out, problems, () if problems else tuple(planned), (f"streams: {_EARLIER}",))
    planned += [f"bit for bit {expected}"] if expected != Contents() else []
    return Verified(out, _few(problems), () if problems else tuple(planned))


def _pictures(out: str, path: Path, store: JobStore, final: Final, full: bool) -> Verified:
    """What the picture is encoded as, all its packets, and what is shown where segments meet."""
    seams = read_seams(store, final.sha256)
    if seams is None or not seams.known():
        return Verified(out, (), (), (f"pictures: {_EARLIER}",))
    ref: FrameIndex = read_probe(store, "ref").index
    looks = _looks(path, seams.picture)
    packets = check_packets(str(path), ref.pts, ref.time_base, seams)
    looked = check_seams(str(path), ref.pts, ref.time_base, seams, None if full else SEAMS_LOOKED_AT)
    planned = ["colour"] if seams.picture and not looks else []
    planned += [] if packets else ["all picture packets"]
    if not looked.problems:
        some = f"{looked.num_looked_at} of " if looked.num_looked_at < looked.num_seams else ""
        planned.append(f"pictures at start, end and {some}{looked.num_seams} seams")
    return Verified(out, (*looks, *_few(packets), *_few(looked.problems)), tuple(planned))


def _looks(path: Path, picture: PicturePlan | None) -> tuple[str, ...]:
    """Colour, shape of pixels, rotation, brightness."""
    return colour_problems(str(path), picture.video, picture.pixel_format, picture.codec) if picture else ()


def _few(lines: tuple[str, ...]) -> tuple[str, ...]:
    more = len(lines) - _MOST_LINES
    return (*lines[:_MOST_LINES], f"and {more} more of this kind") if more > 0 else lines

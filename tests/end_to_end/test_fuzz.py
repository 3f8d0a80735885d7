"""Damaged films of every container through a render: no crash, no hang, and nothing is lost in silence.

A short run is part of the suite. All 300 mutants, or a few alone with all they print:

    VSALIGN_FUZZ_MUTANTS=300 pytest -s tests/end_to_end/test_fuzz.py
    VSALIGN_FUZZ_ONLY=17,250 pytest -s tests/end_to_end/test_fuzz.py
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import av
import pytest

from orchestrator.cli import run
from tests.apart import call_apart
from tests.mutations import NUM_FRAMES, Mutant, make_originals, mutant

_ONLY = [int(number) for number in os.environ.get("VSALIGN_FUZZ_ONLY", "").split(",") if number]
_NUMBERS = _ONLY or list(range(int(os.environ.get("VSALIGN_FUZZ_MUTANTS", "46"))))
_MOST_SECONDS = 60
_MOST_MEMORY = 16 << 30
#: How a run says that something is not there, is damaged or is shown otherwise.
_TOLD = re.compile(r"is truncated|may lack something|give no frame|damaged frame|without timestamp")
#: What no user should read: a fault of ours.
_BUG = re.compile(r"Traceback|\b(Key|Index|Type|Value|Attribute|Assertion|ZeroDivision|Overflow|UnicodeDecode|Runtime)Error\b")
_WHOLE_FILMS = ("film.mkv", "film.mp4")
_BARE_STREAMS = ("film.h264", "film.hevc", "film.m2v", "film.obu")
_FLAGS = ("--pool", "local", "--chunk-frames", "9")
#: Ways to look at both films: by number alone, compared as well, moved as well.
_WORK = (
    ("--no-sync", "--no-warp"),
    ("--no-sync", "--no-warp"),
    ("--sync-precision", "1", "--no-warp", "--force"),
    ("--no-sync",),
)


@dataclass(frozen=True)
class Outcome:
    """How a render of a mutant ended: exit status (below zero: the signal that killed it), what it printed, how many frames the
    output has, how many linear decoding finds in the mutant and how many were in the film that it was made of."""

    mutant: Mutant
    role: str
    status: int
    seconds: float
    printed: str
    num_frames: int
    num_decodable: int
    num_original: int

    def __str__(self) -> str:
        made = f"{self.mutant.path.name}, {self.mutant.original} as {self.role}, {self.mutant.damage}"
        frames = f"{self.num_frames} of {self.num_original} frames, {self.num_decodable} decodable"
        return f"{made}: status {self.status} in {self.seconds:.1f} s, {frames}\n{self.printed}"


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_originals(tmp_path_factory.mktemp("originals"))


@pytest.mark.timeout(max(200, 10 * len(_NUMBERS)))
def test_every_mutant_ends_in_a_film_a_report_or_one_clear_line(originals: dict[str, Path], tmp_path: Path) -> None:
    outcomes = [_rendered(number, originals, tmp_path) for number in _NUMBERS]
    print(Counter(_ending(outcome) for outcome in outcomes), f"slowest {max(o.seconds for o in outcomes):.1f} s")
    faults = [f"{fault}: {outcome}" for outcome in outcomes for fault in _faults(outcome)]
    assert not faults, f"{len(faults)} faults\n" + "\n".join(faults)


def _killed(arguments: list[str]) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def _buggy(arguments: list[str]) -> int:
    raise RuntimeError("a bug")


def _leaving(arguments: list[str]) -> int:
    sys.exit(0)


@pytest.mark.parametrize("ending", [_killed, _buggy, _leaving])
def test_a_crash_of_the_program_is_seen(tmp_path: Path, ending: Callable[[list[str]], int]) -> None:
    status, printed = _apart([], tmp_path, ending)
    found = Outcome(Mutant(tmp_path, "film.mkv", ""), "ref", status, 1.0, printed, 24, 24, 24)
    assert list(_faults(found)) == ["crash"]


def test_what_is_lost_in_silence_is_seen() -> None:
    made = Mutant(Path("m"), "film.mkv", "")
    assert list(_faults(Outcome(made, "ref", 0, 1.0, "", 23, 23, 24))) == ["lost in silence"]
    assert list(_faults(Outcome(made, "clip", 0, 1.0, "", 24, 23, 24))) == ["lost in silence"]
    assert list(_faults(Outcome(made, "ref", 0, 1.0, "ref is truncated", 23, 23, 24))) == []
    assert list(_faults(Outcome(made, "ref", 0, 61.0, "", 24, 24, 24))) == ["hang"]
    assert list(_faults(Outcome(made, "ref", 2, 1.0, "vsalign: a\nvsalign: b", 0, 0, 24))) == ["not one clear line"]


def _ending(outcome: Outcome) -> str:
    if outcome.status:
        return {1: "given up, told", 2: "refused"}.get(outcome.status, "crashed")
    return "rendered, damage told" if _TOLD.search(outcome.printed) else "rendered whole"


def _faults(outcome: Outcome) -> Iterator[str]:
    told = bool(_TOLD.search(outcome.printed))
    complaints = sum(line.startswith("vsalign:") for line in outcome.printed.splitlines())
    if outcome.status not in (0, 1, 2) or _BUG.search(outcome.printed):
        yield "crash"
    elif outcome.seconds > _MOST_SECONDS:
        yield "hang"
    elif outcome.status == 2 and complaints != 1:
        yield "not one clear line"
    elif outcome.status == 0 and outcome.role == "clip" and outcome.num_frames != NUM_FRAMES:
        yield "not as many frames as ref has"
    elif outcome.status == 0 and not told and _found(outcome) not in _promised(outcome):
        yield "lost in silence"


def _found(outcome: Outcome) -> int:
    """Of a ref all frames are in the output; of a clip as many as can be decoded."""
    return outcome.num_frames if outcome.role == "ref" else outcome.num_decodable


def _promised(outcome: Outcome) -> tuple[int, ...]:
    """As many frames as there were; a stream without a container promises none, and nobody misses whole ones taken out."""
    bare = (outcome.num_decodable,) if outcome.mutant.original in _BARE_STREAMS else ()
    return (outcome.num_original, *bare)


def _rendered(number: int, originals: dict[str, Path], folder: Path) -> Outcome:
    """Mutants are ref and clip in turn, with both policies for damage."""
    place = folder / str(number)
    place.mkdir()
    made = mutant(number, originals, place)
    role = "clip" if number // len(originals) % 2 else "ref"
    other = originals[_WHOLE_FILMS[number % 2]]
    films = [str(made.path), str(other)] if role == "clip" else [str(other), str(made.path)]
    policy = ["--on-corrupt", "repeat" if number % 3 else "stop"] + ["--allow-truncated"] * (number % 4 > 0)
    policy += _WORK[number % 5 % len(_WORK)]
    begun = time.monotonic()
    status, printed = _apart(["render", *films, "-o", "out.mkv", *_FLAGS, *policy], place)
    seconds = time.monotonic() - begun
    counts = (_decodable(path) for path in (place / "out.mkv", made.path, originals[made.original]))
    outcome = Outcome(made, role, status, seconds, printed, *counts)
    if _ONLY:
        print(outcome)
    shutil.rmtree(place)
    return outcome


def _decodable(path: Path) -> int:
    """How many frames PyAV decodes, going on behind damage."""
    number = 0
    with (
        suppress(av.FFmpegError, IndexError, AttributeError, OSError),
        av.open(str(path), metadata_errors="replace") as container,
    ):
        for packet in container.demux(container.streams.video[0]):
            with suppress(av.FFmpegError):
                number += len(packet.decode())
    return number


def _apart(arguments: list[str], folder: Path, program: Callable[[list[str]], int] = run) -> tuple[int, str]:
    """Exit status and lines of vsalign with ``arguments``, in ``folder`` and in a process of its own, whose end is not ours."""
    status = call_apart(_run_here, program, arguments, str(folder))
    return status, (folder / "printed").read_text(errors="replace")


def _run_here(program: Callable[[list[str]], int], arguments: list[str], folder: str) -> None:
    status = 99
    try:
        _stand_alone(Path(folder))
        status = program(arguments)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _stand_alone(folder: Path) -> None:
    os.chdir(folder)
    printed = os.open("printed", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(_MOST_SECONDS + 10)

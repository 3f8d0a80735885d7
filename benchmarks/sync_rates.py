"""Sync between versions of one film at other frame rates: duplicates, drops, speed-up, pull-down, variable durations.

    python benchmarks/sync_rates.py [--only NAME ...] [--look regraded|soft] [--list] [--clips ../shared/clips] [--keep FOLDER]

Real shots, hand-held ones, slow pans and near-still ones among them, make a film of 480x270; the ref shows it at one rate, the
clip at another, worn, regraded and misaligned by a constant. Each row is one ``vsalign sync`` in a process of its own. A ref
frame counts where the clip shows its source frame at all; it is exact when the matched clip frame shows that source frame, or
one that cannot be told from it (mean difference of luma below 0.15 of 255 from each frame to the next). "near" is for the
others, whose own frame the clip lacks: the share given the last before or the first after that it shows, or none. Off: mean
distance in source frames, 60 at most. "alone": the share exact when every source frame, given the clip's look without its
grain, takes the most alike of the seven clip pictures about the true one, at full size: what a clip's frames tell one by one.

The bar: exact in 97 of 100 frames of every row. Exit status 1 where it is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import zlib
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from film import CLIPS
from truth import (
    LOOKS,
    MASTER,
    Answer,
    Doubles,
    Frame,
    Ints,
    Look,
    VideoFile,
    Wearer,
    exact_alone,
    load_shots,
    ranges,
    run_sync,
    score,
    steps,
    steps_of,
    told,
)

Row = dict[str, Any]
Shots = tuple[tuple[str, int, int], ...]

LEAST_EXACT = 0.97
SIZE = (270, 480)
SHOTS = (
    ("mdn_elf_h264.mp4", 0, 90),
    ("bbb_480p24_h264.mp4", 60, 120),
    ("sam2_juggle_720p24.mp4", 0, 100),
    ("bbb_wake_720p25_h264.mp4", 0, 110),
    ("mdn_rabbit_720x480_h264.mp4", 0, 90),
    ("bbb_480p24_h264.mp4", 420, 130),
)
#: One frame in 1001 shows only in a longer film.
MORE_SHOTS = (
    *SHOTS,
    ("chaplin_360p25.mp4", 0, 240),
    ("sam2_juggle_720p24.mp4", 100, 147),
    ("bbb_wake_720p25_h264.mp4", 110, 227),
    ("mdn_elf_h264.mp4", 90, 151),
    ("mdn_rabbit_720x480_h264.mp4", 90, 144),
)
NTSC = Fraction(1000, 1001)


@dataclass(frozen=True, eq=False)
class Version:
    """Source frames ``shows`` (n,) at rising ``milliseconds`` (n,)."""

    shows: Ints
    milliseconds: Ints

    def key(self, look: Look, film: str) -> str:
        said = f"{film} {look} {SIZE} {self.shows.tolist()} {self.milliseconds.tolist()}"
        return f"{zlib.crc32(said.encode()):08x}-{look.name}"


@dataclass(frozen=True)
class Case:
    """One relation, clip against ref, on the film of ``shots``."""

    name: str
    clip: Version
    ref: Version
    shots: Shots = SHOTS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, default=CLIPS)
    parser.add_argument("--keep", type=Path, help="keep the made films here and use them again")
    parser.add_argument("--only", nargs="+", default=[], help="cases whose names hold one of these")
    parser.add_argument("--look", choices=[look.name for look in LOOKS])
    parser.add_argument("--tr", type=int, default=20)
    parser.add_argument("--list", action="store_true", help="name the frames that are wrong")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if not options.clips.is_dir():
        print(f"skipped: no real film clips in {options.clips}")
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        rows = run(options, folder)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    missed = [row for row in rows if row["exact"] < LEAST_EXACT]
    worst = min((row["exact"] for row in rows), default=0.0)
    verdict = "pass" if rows and not missed else f"MISS in {len(missed)}"
    print(f"exact >= {LEAST_EXACT} in every row: {verdict}; worst {worst:.4f} of {len(rows)} rows")
    return 0 if rows and not missed else 1


def run(options: argparse.Namespace, folder: Path) -> list[Row]:
    print(f"{'look':8s}  {'clip <- ref':42s}  {'frames':>6s}  counted   exact    off    near   alone  seconds", flush=True)
    rows: list[Row] = []
    for shots in (SHOTS, MORE_SHOTS):
        film: Frame | None = None
        for case in cases(options.clips):
            if case.shots != shots or (options.only and not any(part in case.name for part in options.only)):
                continue
            if film is None:
                film = load_shots(options.clips, shots, SIZE)
                group = told(steps(film))
            for look in LOOKS:
                if options.look in (None, look.name):
                    rows.append(one(case, film, group, look, folder, options))
    if not options.only or any(part in "wake" for part in options.only):
        rows += wake(options, folder)
    return rows


def one(case: Case, film: Frame, group: Ints, look: Look, folder: Path, options: argparse.Namespace) -> Row:
    ref = written(folder, case.ref, film, MASTER, case.shots)
    clip = written(folder, case.clip, film, look, case.shots)
    answer = run_sync(clip, ref, len(case.ref.shows), folder, options.tr)
    alone = exact_alone(clip, film, case.clip.shows, case.ref.shows, group, look)
    return said(look.name, case.name, case.clip.shows, case.ref.shows, group, answer, options.list, alone)


def said(
    look: str, name: str, clip_shows: Ints, ref_shows: Ints, group: Ints, answer: Answer, listed: bool, alone: float = np.nan
) -> Row:
    """Print a row and give it back."""
    found = score(clip_shows, ref_shows, group, answer.match)
    verdict = answer.error or ("" if found.exact >= LEAST_EXACT else "MISS")
    numbers = f"{len(ref_shows):6d}  {found.counted:7d}  {found.exact:6.4f}  {found.off:5.2f}  {found.near:6.4f}  {alone:6.4f}"
    print(f"{look:8s}  {name:42s}  {numbers}  {answer.seconds:7.1f}  {verdict}".rstrip(), flush=True)
    if listed and len(found.wrong):
        print(f"          wrong ref frames: {ranges(found.wrong)}", flush=True)
    wrong = {"wrong": found.wrong.tolist()}
    return {
        "look": look,
        "case": name,
        **asdict(found),
        **wrong,
        "alone": alone,
        "seconds": answer.seconds,
        "error": answer.error,
    }


def written(folder: Path, version: Version, film: Frame, look: Look, shots: Shots) -> Path:
    """The version as a file; one of the same content is used again."""
    path = folder / f"rates-{version.key(look, str(shots))}.mkv"
    if not path.exists():
        wear = Wearer(look, SIZE, 1)
        with VideoFile(path, SIZE, look.crf) as file:
            for source, millisecond in zip(version.shows, version.milliseconds, strict=True):
                file.write(wear(film[source]), int(millisecond))
    return path


def wake(options: argparse.Namespace, folder: Path) -> list[Row]:
    """The real pair made 25 from 24 by a duplicate a second, both ways: identity, duplicates tie."""
    h264, mpeg4 = (options.clips / f"bbb_wake_720p25_{codec}.mp4" for codec in ("h264", "mpeg4"))
    group = told(np.minimum(steps_of(h264), steps_of(mpeg4)))
    shows = np.arange(len(group))
    rows = []
    for clip, ref in ((h264, mpeg4), (mpeg4, h264)):
        answer = run_sync(clip, ref, len(shows), folder, options.tr)
        rows.append(said("real", f"{clip.stem} <- {ref.stem[16:]}", shows, shows, group, answer, options.list))
    return rows


# --- versions: which source frames, when


def paced(shows: Ints | list[int], rate: Fraction | int) -> Version:
    """Shown at a constant rate, times rounded to the container's milliseconds."""
    n = np.arange(len(shows))
    rate = Fraction(rate)
    return Version(np.asarray(shows, np.int64), np.rint(n * (1000 * rate.denominator / rate.numerator)).astype(np.int64))


def timed(shows: Ints, seconds: Doubles) -> Version:
    """Shown at given times, a millisecond apart at least."""
    n = np.arange(len(shows))
    return Version(shows, np.maximum.accumulate(np.rint(seconds * 1000).astype(np.int64) - n) + n)


def repeated(count: int, pattern: tuple[int, ...]) -> list[int]:
    """Source frame k shown pattern[k mod len] times."""
    return [k for k in range(count) for _ in range(pattern[k % len(pattern)])]


def cases(folder: Path) -> list[Case]:
    """All cases; both ways where that is another question."""
    n = sum(count for _, _, count in SHOTS)
    long = sum(count for _, _, count in MORE_SHOTS)
    plain, doubled = range(n), (1,) * 23 + (2,)
    film24 = paced(list(plain), 24)
    made: list[Case] = []

    def both(one_name: str, one: Version, other_name: str, other: Version, shots: Shots = SHOTS) -> None:
        made.append(Case(f"{one_name} <- {other_name}", one, other, shots))
        made.append(Case(f"{other_name} <- {one_name}", other, one, shots))

    both("25 by duplicates", paced(repeated(n, doubled), 25), "24", film24)
    both("23.976 retimed", paced(list(plain), 24 * NTSC), "24", film24)
    dropped = [k for k in range(long) if k % 1001 != 300]
    both("23.976 by drops", paced(dropped, 24 * NTSC), "24 long", paced(list(range(long)), 24), MORE_SHOTS)
    both("25 sped up (PAL)", paced(list(plain), 25), "24", film24)
    both("29.97, every 4th doubled", paced(repeated(n, (1, 1, 1, 2)), 30 * NTSC), "24", film24)
    both("59.94, 2:3 repeats", paced(repeated(n, (2, 3)), 60 * NTSC), "23.976", paced(list(plain), 24 * NTSC))
    both("60, 2:3 repeats", paced(repeated(n, (2, 3)), 60), "24", film24)
    both("24 by drops", paced([k for k in plain if k % 5 != 3], 24), "30", paced(list(plain), 30))
    both("25 by drops", paced(list(plain)[::2], 25), "50", paced(list(plain), 50))
    made += variable(n, film24, still(folder))
    return made


def variable(n: int, film24: Version, still: Ints) -> list[Case]:
    """Frame durations that vary: at random about 1/24 s, so that the times wander; or true times of what was kept."""
    random = np.random.default_rng(7)

    def wandering() -> Version:
        return timed(np.arange(n), np.cumsum(np.concatenate([[0.0], random.uniform(0.5, 1.5, n - 1) / 24])))

    def kept(frames: Ints) -> Version:
        return timed(frames, frames / 24)

    one, other = wandering(), wandering()
    some = np.flatnonzero(random.random(n) < 0.7)
    moving = np.setdiff1d(np.arange(n), still)
    return [
        Case("vfr <- 24", one, film24),
        Case("24 <- vfr", film24, one),
        Case("vfr <- another vfr", one, other),
        Case("vfr, 3 in 10 dropped <- 24", kept(some), film24),
        Case("24 <- vfr, 3 in 10 dropped", film24, kept(some)),
        Case("vfr, still frames dropped <- 24", kept(moving), film24),
        Case("24 <- vfr, still frames dropped", film24, kept(moving)),
        Case("vfr, still frames dropped <- vfr", kept(moving), one),
    ]


_still: dict[Path, Ints] = {}


def still(folder: Path) -> Ints:
    """Frames that hardly differ from the one before: the quietest fifth of the film."""
    if folder not in _still:
        step = steps(load_shots(folder, SHOTS, SIZE))
        _still[folder] = 1 + np.flatnonzero(step < np.quantile(step, 0.2))
    return _still[folder]


if __name__ == "__main__":
    sys.exit(main())

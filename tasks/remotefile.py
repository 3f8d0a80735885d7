"""A remote film as a file object: blocks from the node's cache, missing ones fetched with a read-ahead that has to be earned.

After a jump one block is fetched; each fetch may be as long as a sixteenth of what was read in a row up to there. So what is
fetched in vain stays below a sixteenth of what is read, wherever the reader stops, and a long run comes in few large requests.
"""

from __future__ import annotations

import io
import threading
from collections import OrderedDict

from tasks.blockcache import BLOCK_BYTES, BlockCache, film_key
from tasks.location import name as name_of
from tasks.objectread import ObjectReader

#: A fetch is at most this share of the blocks read in a row, and this many blocks.
_EARNED_SHARE, _MOST_BLOCKS = 16, 32
#: The same for a file that will be read from end to end.
_THROUGH_BLOCKS = 64
#: Readers follow so many runs side by side: containers keep picture and sound apart.
_MOST_RUNS = 4
#: A run goes on over so many blocks that are skipped.
_SKIPPED = 4
_MOST_HELD = _THROUGH_BLOCKS + 8


class RemoteFile:
    """What ``av.open`` and other readers of binary files take; ``through``: it will be read from end to end.

    Seeking fetches nothing. A read raises what :meth:`tasks.objectread.ObjectReader.read` does. Safe for several threads.
    """

    def __init__(self, source: ObjectReader, cache: BlockCache | None, through: bool = False) -> None:
        # Of the address its last part alone: where FFmpeg sees a protocol it reads ahead from one key frame to the next itself.
        self.name = name_of(source.address).replace(":", "_")
        self.size = source.size
        self._source, self._cache, self._through = source, cache, through
        self._film = film_key(source.address, source.version, source.size)
        self._position = 0
        self._held: OrderedDict[int, bytes] = OrderedDict()
        self._runs: list[list[int]] = []
        """[last block, blocks read in a row], the one used last at the end."""
        self._failed = False
        self._lock = threading.RLock()

    def __enter__(self) -> RemoteFile:
        return self

    def __exit__(self, *ignored: object) -> None:
        self.close()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; positions behind the end are allowed and read as nothing."""
        with self._lock:
            base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
            if base + offset < 0:
                raise ValueError(f"seek to {base + offset}; accepted: 0 or more")
            self._position = base + offset
            return self._position

    def read(self, size: int = -1) -> bytes:
        """The next ``size`` bytes, fewer only at the end; all that is left for -1."""
        with self._lock:
            stop = self.size if size < 0 else min(self._position + size, self.size)
            if self._failed or self._position >= stop:
                return b""  # once a read has failed its error ends the work; FFmpeg may ask on before it hands it over
            try:
                data = self._between(self._position, stop)
            except BaseException:
                self._failed = True
                raise
            self._position = stop
            return data

    def close(self) -> None:
        with self._lock:
            self._held.clear()

    def _between(self, start: int, stop: int) -> bytes:
        parts = []
        for number in range(start // BLOCK_BYTES, (stop - 1) // BLOCK_BYTES + 1):
            at = number * BLOCK_BYTES
            parts.append(self._block(number)[max(start - at, 0) : stop - at])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _block(self, number: int) -> bytes:
        in_a_row = self._follow(number)
        block = self._held.get(number)
        if block is None:
            block = self._cache.get(self._film, number) if self._cache else None
            block = self._hold(number, block) if block is not None else self._fetch(number, in_a_row)
        return block

    def _follow(self, number: int) -> int:
        """Blocks read in a row up to ``number``."""
        for run in reversed(self._runs):
            if 0 <= number - run[0] <= _SKIPPED:
                run[1] += number != run[0]
                break
        else:
            run = [0, 1]
            self._runs = self._runs[-_MOST_RUNS + 1 :]
            self._runs.append(run)
        self._runs.remove(run)
        self._runs.append(run)
        run[0] = number
        return run[1]

    def _fetch(self, first: int, in_a_row: int) -> bytes:
        """Fetch block ``first``, and those behind it that the run has earned and nobody has."""
        most = _THROUGH_BLOCKS if self._through else min(max(in_a_row // _EARNED_SHARE, 1), _MOST_BLOCKS)
        last = first
        while last + 1 < first + most and (last + 1) * BLOCK_BYTES < self.size and not self._is_here(last + 1):
            last += 1
        data = self._source.read(first * BLOCK_BYTES, min((last + 1) * BLOCK_BYTES, self.size))
        for number in reversed(range(first, last + 1)):
            at = (number - first) * BLOCK_BYTES
            block = self._hold(number, data[at : at + BLOCK_BYTES])
            if self._cache:
                self._cache.put(self._film, number, block)
        return block

    def _is_here(self, number: int) -> bool:
        return number in self._held or (self._cache is not None and self._cache.has(self._film, number))

    def _hold(self, number: int, block: bytes) -> bytes:
        self._held[number] = block
        while len(self._held) > _MOST_HELD:
            self._held.popitem(last=False)
        return block

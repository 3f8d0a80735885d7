"""A probed source -> the reader that gives its frames by number, whatever has to be done to get them."""

from __future__ import annotations

from contextlib import ExitStack

from tasks.damage import Facts, damage_facts
from tasks.decode import FrameReader
from tasks.fieldplan import as_coded
from tasks.fieldreader import FieldReader
from tasks.gpureader import gpu_reader
from tasks.hwaccel import decode_facts, forget_told, read_of
from tasks.messages import AS_IT_IS, Probe, ReadSettings, Role
from tasks.sources import read_probe
from tasks.store import JobStore
from tasks.turning import Reader, TurnedReader, as_stored


def open_reader(probe: Probe, read: ReadSettings = AS_IT_IS, *, only_thumbs: bool = False) -> Reader:
    """A reader of ``probe.index``'s frames; a context manager, to be closed by the caller. ``only_thumbs`` as for
    :class:`tasks.decode.FrameReader`."""
    if probe.info.turned_degrees:
        return TurnedReader(open_reader(as_stored(probe), read, only_thumbs=only_thumbs), probe.info.turned_degrees)
    if probe.info.fields.filter:
        # Which frame is a repetition must not depend on how exactly frames are decoded.
        roughly = only_thumbs and probe.info.fields.filter == "bwdif"
        return FieldReader(_frame_reader(as_coded(probe), read, roughly), probe, only_thumbs=only_thumbs)
    return _frame_reader(probe, read, only_thumbs)


def _frame_reader(probe: Probe, read: ReadSettings, only_thumbs: bool) -> FrameReader:
    on_gpu = None if only_thumbs else gpu_reader(probe, read)
    return on_gpu or FrameReader(probe, only_thumbs=only_thumbs, read=read)


class Readers(ExitStack):
    """The readers of one unit of work, closed together; what they showed in place of damaged frames is told at the end."""

    def __init__(self) -> None:
        super().__init__()
        forget_told()
        self._opened: list[tuple[Role, Probe, Reader]] = []
        self._written = ""

    def open(self, store: JobStore, role: Role, read: ReadSettings) -> tuple[Probe, Reader]:
        """The job's film in this role, and a reader of it."""
        probe = read_probe(store, role)
        reader = self.enter_context(open_reader(probe, read_of(role, read)))
        self._opened.append((role, probe, reader))
        self._written = read.written
        return probe, reader

    def facts(self) -> Facts:
        """Per film: which of the frames that were read are damaged, as :func:`tasks.damage.damage_facts` has it."""
        found: Facts = {}
        for role, probe in {role: probe for role, probe, _ in self._opened}.items():
            replaced = {n: each for other, _, reader in self._opened if other == role for n, each in reader.replaced.items()}
            found |= damage_facts(role, replaced, probe.coded or probe.index, self._written)
            found |= decode_facts(role, probe.info)
        return found

"""Sound, subtitles, covers, attachments, chapters and tags of other files -> the film: every packet with all its bytes, timed
anew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from typing import Any

from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import AttachmentStream, Disposition, Stream
from av.video.stream import VideoStream

from tasks.chaptercopy import as_pyav_has_them, marks_of, moved_chapters
from tasks.contents import AttachmentSum, ChapterMark, Contents, Label
from tasks.copynotes import CopyNotes
from tasks.eventcopy import planned_events
from tasks.openfilm import open_container
from tasks.shiftcopy import Target, readable, shifted_packets, stream_name
from tasks.streamcheck import RunningSum, attachment_sum, codec_name
from tasks.streamlabels import labels_of, language_of, tags_of, usable_timecode, written_labels
from tasks.streamplan import Extras, Origin, Pick
from tasks.streamtimes import by_time

#: Decode time in seconds (to sort by, never to store), packet with its final integer times.
type Timed = tuple[float, Packet[Any]]

_NO_SHIFT = Fraction(0)
#: How long an event is shown that does not say it, unless another follows before.
_UNKNOWN_SECONDS = 5
_MIMETYPES = {"png": "image/png", "mjpeg": "image/jpeg", "bmp": "image/bmp", "gif": "image/gif", "webp": "image/webp"}
_MIMETYPES["tiff"] = "image/tiff"


class ExtraStreams:
    """The streams of ``extras`` on their way into a film that is over at ``stop_seconds`` and whose own times are ``moved``
    seconds later than ref's.

    A context manager; first ``add_to`` the output, then mux ``cover_packets`` and ``packets``, then look at ``contents``,
    ``left_out`` (events and chapters by origin's role and kind) and ``notes`` (what else is not as it was).
    """

    def __init__(self, extras: Extras, moved: Fraction, stop_seconds: Fraction) -> None:
        self._extras, self._stop = extras, stop_seconds
        self._origins = tuple(_later(origin, moved) for origin in extras.origins)
        self._files = ExitStack()
        self._open: list[InputContainer] = []
        self._outs: dict[Pick, Stream] = {}
        self._sums: dict[Pick, RunningSum] = {}
        self._names: dict[Pick, tuple[str, str, str]] = {}
        self._called: dict[Pick, str] = {}
        self._attached: list[AttachmentSum] = []
        self._chapters: tuple[ChapterMark, ...] = ()
        self._tags: Label = ()
        self._picture: Label = ()
        self._labels: dict[Pick, Label] = {}
        self._covers: list[tuple[Stream, Packet[Any]]] = []
        self._container = ""
        self.left_out: Counter[str] = Counter()
        self.notes = CopyNotes()

    def __enter__(self) -> ExtraStreams:
        for origin in self._origins:
            self._open.append(self._files.enter_context(open_container(origin.path, origin.version)))
        return self

    def __exit__(self, *error: object) -> None:
        self._files.close()

    @property
    def sample_rates(self) -> list[int]:
        """Of the sound, for time scales that hold its start exactly."""
        rates = [self._source(pick).codec_context.sample_rate for pick in self._extras.of_kind("audio")]
        return [rate for rate in rates if rate]

    def _source(self, pick: Pick) -> Any:
        return self._open[pick.origin].streams[pick.index]

    def add_to(self, out: OutputContainer, picture: Stream, is_constant_rate: bool) -> None:
        """Add all streams behind ``picture``, and chapters, tags and the picture's own labels. Nothing is muxed yet."""
        self._container = out.format.name
        for pick in self._extras.of_kind("audio", "subtitle"):
            source = self._source(pick)
            self._outs[pick] = out.add_stream_from_template(source, opaque=True)
            self._labels[pick] = labels_of(source)
            metadata, flags = written_labels(self._labels[pick], out.format.name)
            self._outs[pick].metadata.update(metadata)
            self._outs[pick].disposition = flags
            self._sums[pick] = RunningSum(codec_name(source))
            self._called[pick] = stream_name(self._origins[pick.origin], source)
            self._names[pick] = (source.type, codec_name(source), language_of(source.metadata))
        self._add_attached(out)
        self._set_tags(out, picture, is_constant_rate)
        if self._extras.chapters is not None:
            self._set_chapters(out, self._origins[self._extras.chapters], self._open[self._extras.chapters])

    def _add_attached(self, out: OutputContainer) -> None:
        for pick in self._extras.of_kind("cover", "attachment"):
            source = self._source(pick)
            name, mimetype = source.metadata.get("filename", ""), source.metadata.get("mimetype", "")
            if pick.kind == "attachment":
                assert isinstance(source, AttachmentStream)
                data, name = source.data, name or f"attachment-{pick.index}"
                out.add_attachment(name, mimetype or "application/octet-stream", data)
            else:
                packet = self._cover(pick)
                if packet is None:
                    self.notes.say(f"{stream_name(self._origins[pick.origin], source)}, a cover without a picture")
                    continue
                data, codec = bytes(packet), codec_name(source)
                name = name or f"cover.{'jpg' if codec == 'mjpeg' else codec}"
                if out.format.name == "matroska":
                    out.add_attachment(name, mimetype or _MIMETYPES.get(codec, "application/octet-stream"), data)
                else:
                    stream = out.add_stream_from_template(source, opaque=True)
                    stream.disposition = Disposition.attached_pic
                    self._covers.append((stream, packet))
            self._attached.append(attachment_sum(pick.kind == "cover", name, data))

    def _cover(self, pick: Pick) -> Packet[Any] | None:
        """A cover's one packet, which FFmpeg's demuxers bring before all others; None where there is none."""
        origin = self._origins[pick.origin]
        with open_container(origin.path, origin.version) as container:
            return next(readable(container, origin, {pick.index: stream_name(origin, container.streams[pick.index])}), None)

    def _set_tags(self, out: OutputContainer, picture: Stream, is_constant_rate: bool) -> None:
        if self._extras.tags is None:
            return
        source = self._open[self._extras.tags]
        label = labels_of(source.streams[self._extras.picture]) if self._extras.picture is not None else ()
        tags = tags_of(source.metadata)
        timecode = dict(label).get("timecode") or dict(tags).get("timecode", "")
        if out.format.name != "matroska":
            # FFmpeg makes a track of it, and fails where it is none.
            if (other := dict(tags).get("timecode", timecode)) != timecode:
                self.notes.say(f"the film's time code {other!r}; the picture has its own")
            assert isinstance(picture, VideoStream)
            rate = picture.codec_context.framerate if is_constant_rate else None
            tags, label = _without_timecode(tags), _without_timecode(label)
            if usable_timecode(timecode, rate):
                label += (("timecode", timecode),)
            elif timecode:
                self.notes.say(f"the time code {timecode!r}, which {out.format.name} cannot count on from in this film")
        carried = {timecode, dict(tags).get("timecode", timecode)}
        self._note_timecodes(self._origins[self._extras.tags], source, carried)
        metadata, flags = written_labels(label, out.format.name)
        picture.metadata.update(metadata)
        picture.disposition = flags
        out.metadata.update(dict(tags))
        self._tags, self._picture = tags, label

    def _note_timecodes(self, origin: Origin, source: InputContainer, carried: set[str]) -> None:
        """Tracks of time codes go along as tags of the picture and of the film."""
        for stream in source.streams.data:
            if (timecode := stream.metadata.get("timecode", "")) and timecode not in carried:
                self.notes.say(f"{origin.role} stream #{stream.index}, time code {timecode!r}: it is not the picture's")

    def _set_chapters(self, out: OutputContainer, origin: Origin, source: InputContainer) -> None:
        given = source.chapters()
        kept = moved_chapters(given, origin, self._stop, out.format.name)
        if lost := len([each for each in given if moved_chapters([each], origin, self._stop, "matroska") == []]):
            self.left_out[f"{origin.role} chapters"] = lost
        out.set_chapters(as_pyav_has_them(kept, out.format.name))  # type: ignore[arg-type]
        self._chapters = marks_of(kept)

    def cover_packets(self) -> Iterator[Packet[Any]]:
        """What mp4 and mov take as pictures; to be muxed first."""
        for stream, packet in self._covers:
            packet.stream, packet.pts, packet.dts = stream, 0, 0
            yield packet

    def packets(self) -> list[Iterator[Timed]]:
        """For each file its packets in order of time, counted and hashed as they pass."""
        flows = []
        for number, origin in enumerate(self._origins):
            outs = {pick.index: pick for pick in self._outs if pick.origin == number}
            if outs and origin.plan is not None:
                flows.append(self._counted(planned_events(origin, sorted(outs), self._left_out), outs))
            elif outs:
                targets = {index: Target(self._container, _tick(self._outs[pick])) for index, pick in sorted(outs.items())}
                shifted = shifted_packets(self._open[number], origin, targets, self._left_out, self.notes)
                flows.append(self._counted(by_time(shifted), outs))
        return flows

    def _left_out(self, origin: Origin) -> None:
        self.left_out[f"{origin.role} subtitle events"] += 1

    def _counted(self, packets: Iterable[Timed], picks: dict[int, Pick]) -> Iterator[Timed]:
        last: dict[int, int] = {}
        for seconds, packet in packets:
            index = packet.stream_index
            pick = picks[index]
            if pick.kind == "subtitle":
                assert packet.dts is not None
                # Events may begin together, but none before one that the muxer has had.
                packet.pts = packet.dts = last[index] = max(packet.dts, last.get(index, packet.dts))
                if self._container != "matroska" and not packet.duration:
                    # mp4 would end before a last event without one.
                    packet.duration = round(_UNKNOWN_SECONDS / packet.time_base)
            if self._sums[pick].take(packet):
                packet.stream = self._outs[pick]
                yield seconds, packet

    def contents(self) -> Contents:
        """What the film holds once all packets are muxed: in mp4 and mov no stream without any."""
        there = [pick for pick, each in self._sums.items() if each.num_packets or self._container == "matroska"]
        streams = tuple(self._sums[pick].of(*self._names[pick]) for pick in there)
        labels = (self._picture, *(self._labels[pick] for pick in there))
        return Contents(streams, tuple(self._attached), self._chapters, self._tags, labels)

    def told(self) -> tuple[str, ...]:
        """Once all packets are muxed, what is not as it was in other films."""
        if self._container != "matroska":
            for pick in (pick for pick, each in self._sums.items() if not each.num_packets):
                self.notes.say(f"{self._called[pick]}, of which the film has no packet")
        return self.notes.lines()


def _later(origin: Origin, seconds: Fraction) -> Origin:
    """With all of it later by ``seconds``."""
    stop = None if origin.stop_seconds is None else origin.stop_seconds + seconds
    return replace(origin, shift_seconds=origin.shift_seconds + seconds, stop_seconds=stop)


def _tick(stream: Stream) -> Fraction:
    assert stream.time_base is not None
    return stream.time_base


def _without_timecode(label: Label) -> Label:
    return tuple((name, value) for name, value in label if name != "timecode")


def all_sound(
    path: str, shift_seconds: Fraction = _NO_SHIFT, stop_seconds: Fraction | None = None, version: str = ""
) -> Extras:
    """All audio streams of a file, moved later by ``shift_seconds``, none of it from ``stop_seconds`` on."""
    with open_container(path, version) as container:
        picks = tuple(Pick(0, stream.index, "audio") for stream in container.streams.audio)
    return Extras((Origin("ref", path, version, shift_seconds, stop_seconds),), picks)

"""The streams that go into the output, and whether it can hold them. Nothing here writes: each fault is an InputError of one
line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from orchestrator.config import JobConfig
from orchestrator.inputs import Inputs
from orchestrator.streamchoice import Choice, Chosen, choose, left_behind
from tasks.codecs import container_of
from tasks.holds import cut_by_edits, holders, not_held
from tasks.location import suffix
from tasks.messages import MediaInfo
from tasks.sound import check_sound
from vsalign.errors import InputError

_SETTINGS = {"audio": "audio", "subtitle": "subtitles", "attachment": "attachments"}


def with_streams(config: JobConfig, inputs: Inputs) -> Inputs:
    """``inputs`` with the streams that ``config`` asks for and the notices about them. Raises InputError, before anything is
    rendered, for a choice that no stream answers to and for streams that OUT's container cannot hold."""
    ref, clip = inputs.ref.info, inputs.clip.info
    choice = choose(config.output, ref, clip)
    fits = True
    check_held(config.out, ref, choice.of("ref"))
    check_whole(ref, choice.of("ref", "audio"))
    check_held(config.out, clip, choice.of("clip", "subtitle", "attachment"))
    if sound := tuple(each.stream.index for each in choice.of("clip", "audio")):
        check_sound(clip.source.path, config.out, sound)
        fits = not not_held(clip.source.path, clip.version, sound, container_of(config.out))
        fits = fits and not cut_by_edits(clip.source.path, clip.version, sound)
    notices = (*inputs.notices, *_notices(config, choice, ref, clip))
    return replace(inputs, notices=notices, choice=choice, clip_sound_fits=fits)


def check_held(out: str, info: MediaInfo, chosen: Sequence[Chosen]) -> None:
    """Raise InputError naming the streams that OUT's container cannot hold, and the ways out."""
    if not chosen:
        return
    container = container_of(out)
    numbers = [each.stream.index for each in chosen]
    refused = set(not_held(info.source.path, info.version, numbers, container))
    if not refused:
        return
    bad = [each for each in chosen if each.stream.index in refused]
    others = [ending for ending in holders(info.source.path, info.version, numbers) if ending != suffix(out).lower()]
    can = f"{' and '.join(others)} can; " if others else ""
    leaving = "leaves it out" if len(bad) == 1 else "leaves them out"
    named = ", ".join(f"#{each.stream.index}{_what(each)}" for each in bad[:4])
    more = f" and {len(bad) - 4} more" if len(bad) > 4 else ""
    raise InputError(
        f"{out}: {container} cannot hold stream{'s' * (len(bad) > 1)} {named}{more} of {info.source.path}; "
        f"{can}{' '.join(_without(bad, chosen))} {leaving}"
    )


def check_whole(info: MediaInfo, chosen: Sequence[Chosen]) -> None:
    """Raise InputError naming the sound that copied packets would not keep in time, and the ways out."""
    cut = set(cut_by_edits(info.source.path, info.version, [each.stream.index for each in chosen]))
    if bad := [each for each in chosen if each.stream.index in cut]:
        named = ", ".join(f"#{each.stream.index}{_what(each)}" for each in bad)
        path = info.source.path
        raise InputError(
            f"{path}: its edit list cuts stream{'s' * (len(bad) > 1)} {named} amid packets, copies of which would not stay in "
            f"time; `ffmpeg -i {path} -c:v ffv1 -c:a flac FIXED.mkv` makes a film without cuts of it; "
            f"{' '.join(_without(bad, chosen))} leaves the sound out"
        )


def _what(each: Chosen) -> str:
    language = f" ({each.stream.language})" if each.stream.language else ""
    if each.kind == "attachment":
        return f" ({'cover' if each.stream.is_cover else 'attachment'} {each.stream.filename})".replace(" )", ")")
    return f"{language} {each.stream.codec} {_SETTINGS[each.kind]}"


def _without(bad: Sequence[Chosen], chosen: Sequence[Chosen]) -> Iterator[str]:
    """Flags that leave the streams out: a whole kind where all of it is bad, single streams elsewhere."""
    for kind, name in _SETTINGS.items():
        of_kind = [each for each in bad if each.kind == kind]
        if of_kind and len(of_kind) == len([each for each in chosen if each.kind == kind]):
            yield f"--streams {name}=none"
        else:
            yield from (f"--map -{each.name}" for each in of_kind)


def _notices(config: JobConfig, choice: Choice, ref: MediaInfo, clip: MediaInfo) -> Iterator[str]:
    if config.output.audio == "ref" and not config.output.map and not ref.has_audio:
        yield "ref has no audio; the output will be silent (--audio clip takes the clip's)"
    if config.output.subtitles == "clip" and not choice.of("clip", "subtitle") and not choice.of("ref", "subtitle"):
        yield "clip has no subtitles; the output has none"
    if any(each.film == "ref" for each in choice.streams) or choice.tags == "ref":
        yield from (f"left out of ref: {line}" for line in left_behind(ref, takes_tags=choice.tags == "ref"))
    pictures = [stream for stream in ref.streams if stream.kind == "video" and not stream.is_cover]
    if len(pictures) > 1:
        others = ", ".join(f"#{s.index}" for number, s in enumerate(pictures) if number != ref.source.video_stream)
        yield f"left out of ref: video stream {others}; the output has one picture"

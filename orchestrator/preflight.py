"""Everything that can be found wrong before work begins. Nothing here writes: each fault is an InputError of one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from orchestrator.config import JobConfig
from orchestrator.encoding import encoder_notice
from orchestrator.fieldchoice import choose_filter, fields_notice, with_fields
from orchestrator.inputs import Inputs
from orchestrator.outcheck import check_out_path
from orchestrator.outpicture import as_ref_lies, picture_notices, video_format
from orchestrator.sections import AlignConfig
from orchestrator.streamfit import with_streams
from tasks.codecs import container_of
from tasks.encode import check_output, choose_pixel_format
from tasks.errors import SourceChanged, StitchError, StorageError
from tasks.joinplan import check_times
from tasks.location import absolute, is_remote
from tasks.messages import Probe, Role, Source
from tasks.metrics import find_metric
from tasks.openfilm import version_of
from tasks.presets import wanted_format
from tasks.probe import parse_source, probe
from tasks.remote import read_range, source_sha256, source_size
from tasks.sources import find_probe
from tasks.store import open_store
from tasks.turning import turned_to
from vsalign.errors import InputError
from vsalign.framemap import FrameMap


def look_at_inputs(config: JobConfig, out_may_exist: bool = False) -> Inputs:
    """Probe the sources and check all settings against them and against the output. Raises InputError."""
    check_out_path(config, out_may_exist)
    inputs = look_at_sources(config)
    settings, video = config.encode.settings(), inputs.video
    check_output(settings.codec, config.out, video.width, video.height, inputs.pixel_format, settings, video.hdr)
    try:
        check_times(inputs.ref.index.pts, inputs.ref.index.time_base, container_of(config.out))
    except StitchError as error:
        raise InputError(f"{config.out}: {error}") from None
    with _store_faults_are_input():
        return with_streams(config, inputs)


def look_at_sources(config: JobConfig) -> Inputs:
    """Probe the sources and see what they ask of the output's format. Raises InputError."""
    ref = _probe("ref", config.ref, config)
    given = _probe("clip", config.clip, config)
    clip = as_ref_lies(given, ref.info)
    fallback = as_ref_lies(_probe("fallback", config.align.fallback, config), ref.info) if config.align.fallback else None
    if fallback is not None and len(fallback.index) != len(ref.index):
        raise InputError(
            f"--fallback {config.align.fallback} has {len(fallback.index)} frames; accepted: as many as ref, {len(ref.index)}"
        )
    mask = turned_to(_probe_mask(config), ref.info.rotation_degrees) if config.align.mask else None
    with _store_faults_are_input():
        mask_sha256 = source_sha256(mask.info.source.path, mask.info.version) if mask else ""
    weights, sha256 = find_rife_weights(config.align)
    metric = find_metric(config.sync.precision, config.run.device) if config.sync.mode == "auto" else None
    settings = config.encode.settings()
    wanted, use_notice = wanted_format(settings, config.encode.preset, clip.info.pixel_format, clip.info.colour)
    pixel_format, notice = choose_pixel_format(settings.codec, wanted)
    video = video_format(clip.info, ref.info, config.decode.keep_interlaced)
    seen = picture_notices(given.info, ref.info, video, settings.codec, pixel_format)
    films: tuple[tuple[Role, Probe | None], ...] = (("clip", clip), ("ref", ref), ("fallback", fallback))
    fields = [fields_notice(role, film) for role, film in films if film]
    notices = (encoder_notice(config), use_notice, notice, *seen, *fields, *_notices(clip, ref, config))
    told = tuple(line for line in notices if line)
    return Inputs(clip, ref, fallback, video, pixel_format, told, mask, mask_sha256, weights, sha256, metric)


def load_frame_map(config: JobConfig, num_ref: int, num_clip: int) -> FrameMap:
    """The user's own frame map. Raises InputError naming file and line."""
    path = config.sync.frame_map
    try:
        text = read_range(path, 0).decode("utf-8")
    except (OSError, UnicodeDecodeError, StorageError) as error:
        raise InputError(f"--frame-map {path}: can't be read ({error})") from None
    try:
        return FrameMap.from_csv(text, num_ref, num_clip)
    except InputError as error:
        raise InputError(f"--frame-map {path}: {error}") from None


def _probe(role: Role, given: str, config: JobConfig) -> Probe:
    source = parse_source(given)
    # Absolute, so that workers find it wherever they were started, and FFmpeg takes no ":" in a name for a protocol.
    source = replace(source, path=absolute(source.path))
    found = _probed_before(role, source, config) if is_remote(source.path) else None
    if found is not None or role == "mask":
        return found or probe(source, config.run.allow_truncated)
    with _store_faults_are_input():
        return with_fields(role, probe(source, config.run.allow_truncated), config.decode)


def _probed_before(role: Role, source: Source, config: JobConfig) -> Probe | None:
    """What this job found in the very same remote film when it began: probing reads all of it."""
    with _store_faults_are_input():
        version = version_of(source)
        size = source_size(source.path, version)
    found = None
    with suppress(InputError, StorageError, OSError, ValueError, KeyError):  # whatever is wrong with the job is told elsewhere
        found = find_probe(open_store(config.job_location), role, source, version, size)
    if found is None or (found.info.truncated and not config.run.allow_truncated):
        return None
    fields = found.info.fields
    return found if fields.filter == choose_filter(role, fields, config.decode) else None


@contextmanager
def _store_faults_are_input() -> Iterator[None]:
    try:
        yield
    except (StorageError, SourceChanged) as error:
        raise InputError(str(error)) from None


def _probe_mask(config: JobConfig) -> Probe:
    try:
        return _probe("mask", config.align.mask, config)
    except InputError as error:
        raise InputError(f"--mask {error}; accepted: a picture or a film") from None


def find_rife_weights(align: AlignConfig) -> tuple[str, str]:
    """Where the engine's weights lie, "" for inside its package, and their hash; read once, so that a wrong file shows here."""
    if align.engine != "rife" or not align.warp:
        return "", ""
    if is_remote(align.weights):
        raise InputError(f"--weights {align.weights}: accepted is the path of a file that every machine of the run has")
    from vsalign.weights import RIFE_4_14, find_weights, load_tensors

    try:
        path = find_weights(RIFE_4_14, align.weights)
        load_tensors(RIFE_4_14, path)
    except InputError as error:
        raise InputError(f"--engine rife: {error}") from None
    return str(path) if align.weights else "", RIFE_4_14.sha256


def _notices(clip: Probe, ref: Probe, config: JobConfig) -> list[str]:
    lines = []
    for name, info in (("clip", clip.info), ("ref", ref.info)):
        if info.truncated:
            lines.append(f"{name} is truncated: it {info.truncated}; the frames that are there are used")
        if info.made_times:
            lines.append(f"{name} has {info.made_times}")
        if info.alpha:
            lines.append(f"{name} has an alpha channel, which is not used")
        if info.damage:
            lines.append(f"{name} may lack something: {info.damage}")
    if config.align.warp is False and (clip.info.width, clip.info.height) != (ref.info.width, ref.info.height):
        lines.append(f"clip is scaled from {clip.info.width}x{clip.info.height} to {ref.info.width}x{ref.info.height}")
    return lines

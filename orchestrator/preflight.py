"""Everything that can be found wrong before work begins. Nothing here writes: each fault is an InputError of one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from fractions import Fraction

from orchestrator.config import JobConfig
from orchestrator.inputs import Inputs
from orchestrator.outcheck import check_out_path
from orchestrator.sections import AlignConfig
from tasks.codecs import container_of
from tasks.encode import check_output, choose_pixel_format
from tasks.errors import SourceChanged, StitchError, StorageError
from tasks.formats import planar_format
from tasks.joinplan import check_times
from tasks.location import absolute, is_remote
from tasks.messages import MediaInfo, Probe, Role, Source, VideoFormat
from tasks.metrics import find_metric
from tasks.openfilm import version_of
from tasks.probe import parse_source, probe
from tasks.remote import read_range, source_sha256, source_size
from tasks.sound import check_sound
from tasks.sources import find_probe
from tasks.stitch import check_audio
from tasks.store import open_store
from vsalign.errors import InputError
from vsalign.framemap import FrameMap
from vsalign.picture import MATRIX_UNSPECIFIED, usual_matrix


def look_at_inputs(config: JobConfig, out_may_exist: bool = False) -> Inputs:
    """Probe the sources and check all settings against them and against the output. Raises InputError."""
    check_out_path(config, out_may_exist)
    inputs = look_at_sources(config)
    settings, video = config.encode.settings(), inputs.video
    check_output(settings.codec, config.out, video.width, video.height, inputs.pixel_format, settings)
    try:
        check_times(inputs.ref.index.pts, inputs.ref.index.time_base, container_of(config.out))
    except StitchError as error:
        raise InputError(f"{config.out}: {error}") from None
    _check_audio(config, inputs)
    return inputs


def _check_audio(config: JobConfig, inputs: Inputs) -> None:
    if config.output.audio == "none":
        return
    info = (inputs.ref if config.output.audio == "ref" else inputs.clip).info
    if config.output.audio == "clip" and not info.has_audio:
        raise InputError(f"--audio clip: {config.clip} has no audio; accepted: ref or none")
    if config.output.audio == "clip":
        with _store_faults_are_input():
            check_sound(info.source.path, config.out)
    else:
        check_audio(info, config.out)


def look_at_sources(config: JobConfig) -> Inputs:
    """Probe the sources and see what they ask of the output's format. Raises InputError."""
    ref = _probe("ref", config.ref, config)
    lines = ref.info.height
    clip = _with_matrix(_probe("clip", config.clip, config), lines)
    fallback = _with_matrix(_probe("fallback", config.align.fallback, config), lines) if config.align.fallback else None
    if fallback is not None and len(fallback.index) != len(ref.index):
        raise InputError(
            f"--fallback {config.align.fallback} has {len(fallback.index)} frames; accepted: as many as ref, {len(ref.index)}"
        )
    mask = _probe_mask(config) if config.align.mask else None
    with _store_faults_are_input():
        mask_sha256 = source_sha256(mask.info.source.path, mask.info.version) if mask else ""
    weights, sha256 = find_rife_weights(config.align)
    metric = find_metric(config.sync.precision, config.run.device) if config.sync.mode == "auto" else None
    settings = config.encode.settings()
    pixel_format, notice = choose_pixel_format(settings.codec, settings.pixel_format or clip.info.pixel_format)
    notices = (notice, *_notices(clip, ref, config))
    video = video_format(clip.info, ref.info)
    told = tuple(line for line in notices if line)
    return Inputs(clip, ref, fallback, video, pixel_format, told, mask, mask_sha256, weights, sha256, metric)


def video_format(clip: MediaInfo, ref: MediaInfo) -> VideoFormat:
    """The output's format: ref's size, shape of pixels and rate; the clip's colour, since the samples are the clip's."""
    rate = ref.average_rate.limit_denominator(1001) if ref.average_rate > 0 else Fraction(25)
    return VideoFormat(ref.width, ref.height, rate, ref.sample_aspect_ratio, clip.colour)


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
    found = found or probe(source, config.run.allow_truncated)
    if found.info.rotation_degrees:
        raise InputError(
            f"{given} is turned by {found.info.rotation_degrees} degrees by its player; accepted: films stored upright "
            f"(re-encode it turned, or remove the rotation tag)"
        )
    return found


def _probed_before(role: Role, source: Source, config: JobConfig) -> Probe | None:
    """What this job found in the very same remote film when it began: probing reads all of it."""
    with _store_faults_are_input():
        version = version_of(source)
        size = source_size(source.path, version)
    found = None
    with suppress(InputError, StorageError, OSError, ValueError, KeyError):  # whatever is wrong with the job is told elsewhere
        found = find_probe(open_store(config.job_location), role, source, version, size)
    return found if found and (config.run.allow_truncated or not found.info.truncated) else None


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


def _with_matrix(found: Probe, out_lines: int) -> Probe:
    """A YUV film without a matrix tag is read by its height; where the output's height would read it otherwise, say it."""
    info = found.info
    read_as = usual_matrix(info.height)
    untagged = info.colour.matrix == MATRIX_UNSPECIFIED and planar_format(info.pixel_format).family == "yuv"
    if not untagged or read_as == usual_matrix(out_lines):
        return found
    colour = replace(info.colour, matrix=read_as)
    return replace(found, info=replace(info, colour=colour))


def _notices(clip: Probe, ref: Probe, config: JobConfig) -> list[str]:
    lines = []
    if config.output.audio == "ref" and not ref.info.has_audio:
        lines.append("ref has no audio; the output will be silent (--audio clip takes the clip's)")
    for name, info in (("clip", clip.info), ("ref", ref.info)):
        if info.truncated:
            lines.append(f"{name} is truncated: it {info.truncated}; the frames that are there are used")
        if info.field_order not in {"progressive", "unknown", ""}:
            lines.append(f"{name} is tagged interlaced ({info.field_order}); its frames are used as they are, fields woven")
    if config.align.warp is False and (clip.info.width, clip.info.height) != (ref.info.width, ref.info.height):
        lines.append(f"clip is scaled from {clip.info.width}x{clip.info.height} to {ref.info.width}x{ref.info.height}")
    return lines

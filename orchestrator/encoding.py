"""Which encoder a job uses where it asks for one of hardware, and whether all its chunks came from the same build.

It is decided once, when the job begins, and kept with it: whether a chunk was made by a GPU shows in its bytes and its headers,
so a job that is resumed elsewhere does not decide again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress

from orchestrator.config import JobConfig, job_config, merge
from orchestrator.jobdir import is_begun, saved_config
from orchestrator.sections import RunConfig
from tasks.codecs import codec_rules
from tasks.errors import StorageError
from tasks.nvenc import is_hardware
from tasks.presets import software_settings
from tasks.work import Record
from vsalign.errors import InputError

#: (codec) -> "" where an encoder of it can be opened here, else why not.
Look = Callable[[str], str]


def settle_encoder(config: JobConfig, look: Look | None = None) -> JobConfig:
    """``config`` with the software encoder in place of one of hardware that the workers do not have, and ``encode.instead_of``
    saying so. Raises InputError where its options fit no other encoder."""
    asked = config.encode.settings().codec
    if not is_hardware(asked):
        return config
    earlier = _earlier(config)
    if earlier is not None and earlier.encode.settings().codec == asked:
        return config
    if earlier is not None and earlier.encode.instead_of.startswith(f"{asked}: "):
        why = earlier.encode.instead_of.removeprefix(f"{asked}: ")
    else:
        why = missing(config.run, asked, look or _try)
    return _in_software(config, asked, why) if why else config


def missing(run: RunConfig, codec: str, look: Look) -> str:
    """Why the workers of ``run`` have no encoder ``codec``, "" where they have one or may: a cluster's are taken to, since the
    machine that this is asked on need not be like them."""
    if run.hwaccel == "none":
        return "--hwaccel none"
    if run.device == "cpu":
        return "--device cpu: workers see no GPU"
    return "" if run.address is not None else look(codec)


def encoder_notice(config: JobConfig) -> str:
    """What the user should read of an encoder that is not the one asked for, "" for nothing."""
    asked, _, why = config.encode.instead_of.partition(": ")
    return f"{config.encode.settings().codec} encodes instead of {asked}: {why}" if asked else ""


def build_notice(records: Mapping[str, Record], codec: str) -> str:
    """What the user should read of chunks that another FFmpeg or encoder build made than most, "" for nothing: they join if
    their headers agree, but on other machines the same job may give other bytes."""
    builds = {name: _build(record, codec) for name, record in records.items()}
    if len(set(builds.values())) < 2:
        return ""
    usual, _ = Counter(builds.values()).most_common(1)[0]
    odd = [name for name, build in builds.items() if build != usual]
    hosts = ", ".join(sorted({records[name].host for name in odd})[:4])
    return f"{len(odd)} of {len(builds)} chunks were made by another build ({builds[odd[0]]} on {hosts}; the others {usual})"


def _build(record: Record, codec: str) -> str:
    named = ((name, record.versions.get(name, "")) for name in ("ffmpeg", codec))
    return " ".join(f"{name} {version}" for name, version in named if version) or "unknown"


def _in_software(config: JobConfig, asked: str, why: str) -> JobConfig:
    encode = config.encode
    codec, crf, preset = software_settings(asked, encode.crf, encode.preset, encode.options)
    changed = {"codec": codec, "crf": crf, "preset": preset, "instead_of": f"{asked}: {why}"}
    return job_config(merge(config.model_dump(), {"encode": changed}), "vsalign")


def _earlier(config: JobConfig) -> JobConfig | None:
    """The job as it was begun, None where it is a new one; whatever is wrong with its directory is told elsewhere."""
    with suppress(InputError, StorageError, OSError):
        if is_begun(config):
            return saved_config(config.job_location)
    return None


def _try(codec: str) -> str:
    from tasks.builds import why_not

    return why_not(codec_rules(codec).name)

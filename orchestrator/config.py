"""The job as the user writes it: flags or JOB.toml -> one validated, frozen JobConfig.

Every field's description says what is accepted; it is what an error message quotes.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from orchestrator.sections import AlignConfig, DecodeConfig, EncodeConfig, OutputConfig, RunConfig, Section, SyncConfig
from tasks.location import check_address, is_remote
from tasks.messages import ReadSettings
from tasks.probe import written_when
from vsalign.errors import InputError

JOB_SCHEMA = 1


class JobConfig(Section):
    """A whole job. ``clip``, ``ref`` and ``out`` are paths or addresses; ``#v:1`` after one picks its second video stream."""

    clip: str = Field(min_length=1, description="path of the film that gets moved")
    ref: str = Field(min_length=1, description="path of the film it is moved onto")
    out: str = Field(min_length=1, description="path of the output, .mkv, .mp4 or .mov")
    decode: DecodeConfig = DecodeConfig()  # type: ignore[call-arg]
    sync: SyncConfig = SyncConfig()  # type: ignore[call-arg]
    align: AlignConfig = AlignConfig()  # type: ignore[call-arg]
    encode: EncodeConfig = EncodeConfig()  # type: ignore[call-arg]
    output: OutputConfig = OutputConfig()  # type: ignore[call-arg]
    run: RunConfig = RunConfig()  # type: ignore[call-arg]

    @property
    def job_location(self) -> str:
        """Path or address of the job directory."""
        return self.run.job or self.out + ".vsalign"

    def read_settings(self) -> ReadSettings:
        """How workers read the sources. GPUs show damaged frames without saying so: they get only what a scan has looked
        through and would have stopped at."""
        looked_through = self.sync.mode == "auto" and self.decode.on_corrupt == "stop"
        hwaccel = self.run.hwaccel if looked_through and self.run.device != "cpu" else "none"
        films = (self.clip, self.ref, self.align.fallback, self.align.mask)
        return ReadSettings(self.decode.on_corrupt, hwaccel, written_when(film for film in films if film))


def job_config(values: Mapping[str, Any], where: str) -> JobConfig:
    """Validate ``values``; ``where`` names their origin in messages. Raises InputError with one line for the first fault."""
    try:
        config = JobConfig.model_validate(values)
    except ValidationError as error:
        raise InputError(f"{where}: {_one_line(error)}") from None
    for table, key in path_fields(config.model_dump()):
        if is_remote(table[key]):
            check_address(table[key])
    return config


def load_job_file(path: Path) -> dict[str, Any]:
    """The tables of a JOB.toml, relative paths taken from the file's folder. Raises InputError when it can't be read."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such job file") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: not a readable TOML file ({error})") from None
    for table, key in path_fields(values):
        if isinstance(table.get(key), str) and table[key]:
            table[key] = table[key] if is_remote(table[key]) else str(path.parent / table[key])
    return values


def path_fields(values: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
    """(table, key) of every setting that is a path, in the tables that ``values`` has."""
    fields = (("sync", "frame_map"), ("align", "fallback"), ("align", "mask"), ("align", "weights"), ("run", "job"))
    inner = [(values[section], key) for section, key in fields if isinstance(values.get(section), dict)]
    return [(values, "clip"), (values, "ref"), (values, "out"), *inner]


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with every value of ``over`` put in its place, table by table."""
    merged = dict(base)
    for key, value in over.items():
        inner = merged.get(key)
        merged[key] = merge(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return merged


def _one_line(error: ValidationError) -> str:
    fault = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in fault["loc"])
    section, field = _find(fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"unknown key {key}; accepted here: {', '.join(section.model_fields)}"
    if fault["type"] == "missing":
        return f"{key} is missing; wanted: {field}"
    if fault["type"] == "value_error":
        return str(fault["ctx"]["error"])
    if not field:
        return f"{key} is {fault['input']!r}; accepted: a table of settings"
    return f"{key} is {fault['input']!r}; accepted: {field}"


def _find(location: tuple[int | str, ...]) -> tuple[type[BaseModel], str]:
    """The section that a fault lies in, and what the field there accepts ("" for a section or an unknown key)."""
    section: type[BaseModel] = JobConfig
    for part in location:
        field = section.model_fields.get(str(part))
        if field is None:
            break
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            section = field.annotation
            continue
        return section, field.description or ""
    return section, ""

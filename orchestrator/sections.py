"""The tables of a job file: what each setting is called, what it accepts, which belong together.

Every field's description says what is accepted; it is what an error message quotes.
"""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tasks.messages import AlignSettings, EncodeSettings, MismatchShow, OnCorrupt, SyncSettings
from tasks.metrics import BY_SIGNATURE
from tasks.presets import USES, settled
from vsalign.metric import Select
from vsalign.settings import DEFAULT_SMOOTH_TIME, MOST_ITERATIONS

#: A window keeps that many pictures in memory.
MOST_SMOOTH_TIME = 120

#: Which film something is taken from.
Whose = Literal["ref", "clip", "none"]
Codec = Literal["libx264", "libx265", "libsvtav1", "ffv1", "prores_ks", "h264_nvenc", "hevc_nvenc", "av1_nvenc"]
CODECS: tuple[str, ...] = get_args(Codec)


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DecodeConfig(Section):
    """How the sources are read."""

    deinterlace: Literal["", "bwdif"] = Field("", description='"bwdif" (for the sources that are found interlaced)')
    detelecine: bool = Field(False, description="true or false (true: for the sources that are found telecined)")
    fields_of: Literal["found", "clip", "ref", "both"] = Field("found", description='"found", "clip", "ref" or "both"')
    keep_interlaced: bool = Field(False, description="true or false (true: fields stay woven)")
    on_corrupt: OnCorrupt = Field("stop", description='"stop", "repeat" or "skip-chunk"')

    @model_validator(mode="after")
    def _one_way(self) -> DecodeConfig:
        ways = (bool(self.deinterlace), self.detelecine, self.keep_interlaced)
        if sum(ways) > 1:
            raise ValueError("deinterlace, detelecine and keep_interlaced exclude each other; accepted: one of them")
        if self.fields_of != "found" and not any(ways[:2]):
            raise ValueError(f"decode.fields_of is {self.fields_of!r}; accepted only with deinterlace or detelecine")
        return self


class SyncConfig(Section):
    """Which clip frame each ref frame gets."""

    mode: Literal["auto", "none", "offset", "map"] = Field("auto", description='"auto", "none", "offset" or "map"')
    offset: int = Field(0, description="a whole number of clip frames (clip frame = expected frame + offset)")
    frame_map: str = Field("", description="path of a CSV with columns ref_frame, clip_frame")
    tr: int = Field(20, ge=1, le=1000, description="a whole number of clip frames from 1 to 1000")
    precision: int = Field(BY_SIGNATURE, ge=1, le=4, description="1 PlaneStats, 2 a plugin's metric, 3 TOPIQ, 4 signatures")
    select: Select = Field("path", description='"path" or "argmin"')
    force: bool = Field(False, description="true or false")

    @model_validator(mode="after")
    def _map_is_named(self) -> SyncConfig:
        if (self.mode == "map") != bool(self.frame_map):
            raise ValueError('sync.frame_map goes with sync.mode = "map", and only with it')
        return self

    @model_validator(mode="after")
    def _precision_has_a_use(self) -> SyncConfig:
        if self.precision != BY_SIGNATURE and self.mode != "auto":
            raise ValueError(f'sync.precision is {self.precision} and sync.mode {self.mode!r}; accepted: 4, or mode "auto"')
        if self.precision == BY_SIGNATURE and self.select != "path":
            raise ValueError(f'sync.select is {self.select!r}; accepted with sync.precision 4: "path" ("argmin": with 1 to 3)')
        return self

    def settings(self) -> SyncSettings:
        return SyncSettings(temporal_radius=self.tr)


class AlignConfig(Section):
    """How the clip's picture gets onto the ref's geometry."""

    warp: bool = Field(True, description="true or false (false: only scaling to ref's size)")
    precision: int = Field(2, ge=1, le=4, description="1 (fastest) to 4 (most exact)")
    unmatched: Literal["hold", "ref", "fallback", "black"] = Field("hold", description='"hold", "ref", "fallback" or "black"')
    fallback: str = Field("", description="path of a film with as many frames as ref")
    mismatch: MismatchShow = Field("keep", description='"keep", "ref", "black" or "white"')
    mask: str = Field("", description="path of a picture or film, white where clip and ref are not to be trusted")
    smooth_time: int = Field(
        DEFAULT_SMOOTH_TIME, ge=0, le=MOST_SMOOTH_TIME, description=f"a whole number of ref frames from 0 to {MOST_SMOOTH_TIME}"
    )
    engine: Literal["dense", "rife"] = Field("dense", description='"dense" or "rife"')
    weights: str = Field("", description="path of the weights file of engine rife")
    wide_search: bool = Field(False, description="true or false")
    lq_input: bool = Field(False, description="true or false")
    iterations: int = Field(1, ge=1, le=MOST_ITERATIONS, description=f"a whole number from 1 to {MOST_ITERATIONS}")
    exact_peer: bool = Field(False, description="true or false")

    @model_validator(mode="after")
    def _fallback_is_named(self) -> AlignConfig:
        if (self.unmatched == "fallback") != bool(self.fallback):
            raise ValueError('align.unmatched = "fallback" goes with align.fallback, a film with as many frames as ref')
        return self

    @model_validator(mode="after")
    def _settings_belong_together(self) -> AlignConfig:
        if self.engine != "rife" and (self.weights or self.exact_peer):
            name = "weights" if self.weights else "exact_peer"
            raise ValueError(f'align.{name} goes with align.engine = "rife", and only with it')
        if self.mismatch != "keep" and not self.warp:
            raise ValueError(f'align.mismatch is {self.mismatch!r}; accepted without warp: "keep"')
        return self

    @property
    def radius(self) -> int:
        """Ref frames on each side whose pairs take part in a frame's warp."""
        return self.smooth_time if self.warp else 0

    def settings(self, weights: str = "") -> AlignSettings:
        """``weights``: where the weights were found. Without warp nothing else counts, and nothing else makes chunks stale."""
        if not self.warp:
            return AlignSettings(warp=False, unmatched=self.unmatched)
        return AlignSettings(
            precision=self.precision,
            unmatched=self.unmatched,
            mismatch=self.mismatch,
            smooth_time=self.smooth_time,
            engine=self.engine,
            weights=weights,
            wide_search=self.wide_search,
            lq_input=self.lq_input,
            iterations=self.iterations,
            exact_peer=self.exact_peer,
        )


class EncodeConfig(Section):
    """How the aligned pictures are encoded. ``preset``: one named after a use fills in what is left open."""

    codec: Codec | None = Field(None, description=", ".join(CODECS))
    crf: float | None = Field(None, ge=0, le=63, description="a number from 0 to 63 (libx264: 51)")
    preset: str = Field("", description=f"{', '.join(USES)}, or a preset of the codec")
    options: dict[str, str] = Field(default_factory=dict, description="a table of encoder options, values as strings")
    pixel_format: str = Field("", description="an FFmpeg pixel format that the codec takes")
    threads: int = Field(2, ge=1, le=64, description="a whole number from 1 to 64 (the bytes depend on it)")
    instead_of: str = Field("", description="nothing; vsalign notes here which encoder could not be had when the job began")

    @model_validator(mode="after")
    def _preset_fits(self) -> EncodeConfig:
        self.settings()
        return self

    def settings(self) -> EncodeSettings:
        """What the encoder is given; InputError where a preset and a codec exclude each other."""
        given = EncodeSettings(
            codec=self.codec or "",
            crf=self.crf,
            options=tuple(sorted(self.options.items())),
            pixel_format=self.pixel_format,
            threads=self.threads,
        )
        return settled(given, self.preset)


class OutputConfig(Section):
    """What else goes into the file, and what may be overwritten."""

    audio: Whose = Field("ref", description='"ref", "clip" or "none"')
    subtitles: Whose = Field("ref", description='"ref", "clip" or "none"')
    chapters: Whose = Field("ref", description='"ref", "clip" or "none"')
    attachments: Whose = Field("ref", description='"ref", "clip" or "none" (fonts, covers)')
    tags: Whose = Field("ref", description='"ref", "clip" or "none"')
    map: tuple[str, ...] = Field((), description='a list of "ref:a:0", "clip:s:eng", "-ref:s:ger" and the like')
    overwrite: bool = Field(False, description="true or false")
    clean: bool = Field(False, description="true or false (true: delete segments once the output is verified)")


class RunConfig(Section):
    """Where and how the work is done; nothing here changes the output's pixels."""

    pool: Literal["ray", "local"] = Field("ray", description='"ray" or "local"')
    address: str | None = Field(None, description='address of a Ray cluster, or "local" for a Ray of our own on this machine')
    workers: int | None = Field(None, ge=1, le=100_000, description="a whole number, 1 or more")
    cores_per_worker: int = Field(1, ge=1, le=1024, description="a whole number, 1 or more")
    gpu_fraction: float = Field(1.0, ge=0.01, le=1, description="a number from 0.01 to 1 (0.5: two workers share a GPU)")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description='"auto", "cpu" or "cuda"')
    chunk_frames: int | None = Field(None, ge=1, le=1_000_000, description="a whole number of ref frames, 1 or more")
    stall_seconds: int = Field(300, ge=1, le=86_400, description="a whole number of seconds from 1 to 86400")
    start_timeout: int | None = Field(None, ge=1, le=86_400, description="a whole number of seconds from 1 to 86400")
    hwaccel: Literal["auto", "none"] = Field("auto", description='"auto" or "none"')
    allow_truncated: bool = Field(False, description="true or false")
    steal: bool = Field(False, description="true or false (true: take the job over from another run)")
    job: str = Field("", description="path or address (s3://, gs://) of the job directory")
    quiet: bool = Field(False, description="true or false")

    @field_validator("address")
    @classmethod
    def _local_is_no_address(cls, given: str | None) -> str | None:
        """So that a job begun on a cluster can go on without it."""
        return None if given == "local" else given

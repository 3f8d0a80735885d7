"""PURE: what records say of decoding on GPUs -> the report's numbers and its line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from orchestrator.inputs import Inputs
from tasks.hwaccel import why_software
from tasks.work import Record


def summarise_decoding(records: Iterable[Record], inputs: Inputs, read_on_gpu: bool) -> dict[str, dict[str, Any]]:
    """By film: ``gpu_frames`` that came from GPUs, and ``why`` others did not. Nothing where no worker had a GPU, or none was
    to be used for it (``read_on_gpu``)."""
    made = [record for record in records if record.device.startswith("cuda")]
    if not made or not read_on_gpu:
        return {}
    found: dict[str, dict[str, Any]] = {}
    for role, info in (("clip", inputs.clip.info), ("ref", inputs.ref.info)):
        frames = sum(int(record.facts.get(f"gpu_frames_{role}", 0)) for record in made)
        faults = [str(record.facts[f"gpu_fault_{role}"]) for record in made if f"gpu_fault_{role}" in record.facts]
        why = why_software(info) or (f"in {len(faults)} of {len(made)} chunks: {faults[0]}" if faults else "")
        found[role] = {"gpu_frames": frames, "why": why}
    return found


def decoding_lines(decoding: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What report.json holds of it, in one line at most."""
    on_gpu = [role for role, film in decoding.items() if film["gpu_frames"]]
    software = [f"{role} ({film['why']})" for role, film in decoding.items() if film["why"]]
    told = [f"on the GPU: {', '.join(on_gpu)}"] if on_gpu else []
    told += [f"in software: {', '.join(software)}"] if software else []
    return [f"decoded   {'; '.join(told)}"] if told else []

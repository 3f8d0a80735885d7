"""The shape of the project: which way imports point, and through which doors other packages come in."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = ("vsalign", "tasks", "orchestrator")
DOORS = {
    "ray": {
        *("tasks/actors.py", "orchestrator/pool.py", "orchestrator/raycluster.py", "orchestrator/nodewatch.py"),
        *("orchestrator/autoscale.py", "orchestrator/gauges.py", "orchestrator/deaths.py", "orchestrator/worker.py"),
    },
    "av": {
        "tasks/probe.py",
        "tasks/decode.py",
        "tasks/decoder.py",
        "tasks/pictures.py",
        "tasks/encode.py",
        "tasks/stitch.py",
        "tasks/sound.py",
        "tasks/soundread.py",
        "tasks/openfilm.py",
        "tasks/packetread.py",
        "tasks/showorder.py",
        "tasks/colourread.py",
        "tasks/colourcheck.py",
        *("tasks/outframe.py", "tasks/packing.py", "tasks/builds.py", "tasks/hwaccel.py", "tasks/gpureader.py"),
        "tasks/seams.py",
        *("tasks/streamcheck.py", "tasks/streamcopy.py", "tasks/streamlabels.py", "tasks/eventcopy.py"),
        *("tasks/shiftcopy.py", "tasks/holds.py"),
        *("tasks/fieldfilter.py", "tasks/fieldlook.py", "tasks/fieldreader.py"),
    },
    "fsspec": {"tasks/objectclients.py", "tasks/s3client.py"},
    "s3fs": {"tasks/objectclients.py"},
    "gcsfs": {"tasks/objectclients.py"},
    "matplotlib": {"orchestrator/plot.py"},
    "vapoursynth": {"vsalign/filters.py", "vsalign/temporalfilter.py", "vsalign/pluginmetric.py", "tasks/script.py"},
}
FILES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))


def imports_of(path: Path) -> set[str]:
    """Top-level names of all modules that a file imports, at its top or inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add((node.module or "").partition(".")[0])
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_from_orchestrator_to_tasks_to_vsalign(path: Path):
    layer = path.relative_to(ROOT).parts[0]
    above = set(LAYERS[LAYERS.index(layer) + 1 :])
    assert not imports_of(path) & above


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_other_packages_come_in_through_their_doors_only(path: Path):
    name = str(path.relative_to(ROOT))
    assert not {package for package in imports_of(path) & set(DOORS) if name not in DOORS[package]}


def test_sources_are_opened_in_one_place():
    """Which knows how to: films far away, tags that are no UTF-8, image sequences."""
    opening = ("av.open(open_source(", "metadata_errors")
    assert {p.name for p in FILES if any(how in p.read_text(encoding="utf-8") for how in opening)} == {"openfilm.py"}


def test_the_command_line_starts_without_torch_or_ray():
    code = (
        "import sys, orchestrator.cli; print([m for m in ('torch', 'ray', 'cv2', 'numba', 'matplotlib') if m in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert loaded.stdout.strip() == "[]"


def test_files_stay_short_enough_to_read():
    assert {str(p): n for p in FILES if (n := len(p.read_text(encoding="utf-8").splitlines())) > 300} == {}

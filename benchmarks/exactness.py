"""Any chunks, any pool, killed or not: the same film comes out.

    .venv/bin/python benchmarks/exactness.py CLIP REF [--folder FOLDER]

Renders losslessly with short chunks and with one, in this process and on Ray, and compares every decoded frame. Then renders as
users do, kills everything in the middle, resumes, and compares the file with that of a calm run, byte for byte.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av

RENDER = [sys.executable, "-m", "orchestrator.cli", "render"]
RESUME = [sys.executable, "-m", "orchestrator.cli", "resume"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("ref", type=Path)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        films = [str(options.clip), str(options.ref)]
        compare_chunks_and_pools(films, folder)
        compare_killed_and_calm(films, folder)


def compare_chunks_and_pools(films: list[str], folder: Path) -> None:
    """Decoded frames of four lossless renders, against those of the first."""
    first: list[str] = []
    for pool in ("ray", "local"):
        for chunk_frames in (60, 720):
            out, started = folder / f"{pool}-{chunk_frames}.mkv", time.monotonic()
            choice = ["--pool", pool, "--chunk-frames", str(chunk_frames), "--codec", "ffv1"]
            subprocess.run([*RENDER, *films, "-o", str(out), *choice, "--quiet", "--overwrite"], check=True)
            frames = frame_hashes(out)
            first = first or frames
            same = sum(a == b for a, b in zip(frames, first, strict=True))
            seconds = time.monotonic() - started
            print(f"{pool:5} chunks of {chunk_frames:3}: {same} of {len(frames)} frames equal, {seconds:.0f} s", flush=True)


def compare_killed_and_calm(films: list[str], folder: Path) -> None:
    """The output of a run whose process group was killed with a third of its chunks done, then resumed."""
    calm, killed = folder / "calm.mkv", folder / "killed.mkv"
    choice = ["--chunk-frames", "60", "--quiet", "--overwrite"]
    subprocess.run([*RENDER, *films, "-o", str(calm), *choice], check=True)
    job = Path(f"{killed}.vsalign")
    victim = subprocess.Popen([*RENDER, *films, "-o", str(killed), *choice], start_new_session=True)
    while victim.poll() is None and len(list(job.glob("done/render-*"))) < 4:
        time.sleep(0.05)
    os.killpg(victim.pid, signal.SIGKILL)
    victim.wait()
    time.sleep(4)
    noted = len((job / "journal.jsonl").read_text().splitlines())
    kept = len(list(job.glob("done/render-*")))
    done = subprocess.run([*RESUME, str(job)], check=True, capture_output=True, text=True)
    said = re.search(r"render: reused .*", done.stderr)
    events = [json.loads(line) for line in (job / "journal.jsonl").read_text().splitlines()[noted:]]
    again = sum(event["what"] == "submitted" and event["stage"] == "render" for event in events)
    equal = calm.read_bytes() == killed.read_bytes()
    print(f"killed with {kept} chunks done; {said[0] if said else 'resume reused nothing'}; rendered again: {again}")
    print(f"file equal to that of the calm run: {equal}")


def frame_hashes(path: Path) -> list[str]:
    """A hash of every decoded frame's samples."""
    with av.open(str(path)) as container:
        return [hashlib.sha256(frame.to_ndarray().tobytes()).hexdigest() for frame in container.decode(video=0)]


if __name__ == "__main__":
    main()

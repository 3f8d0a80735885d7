"""How far a job is, read from its directory alone: works while it runs, after a kill, and from another machine."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orchestrator.jobdir import saved_config
from tasks.store import open_store


def job_status(job_dir: Path) -> dict[str, Any]:
    """Chunks planned and done, failures by cause. Raises InputError when ``job_dir`` is no job directory."""
    config = saved_config(job_dir)
    store = open_store(str(job_dir))
    plan = json.loads(store.read("plan.json") or b"{}")
    bounds = plan.get("bounds", {}).get("chunks", [])
    events = list(_events(store.read("journal.jsonl") or b""))
    done = {name.rpartition("/")[2].rpartition("-")[0] for name in store.names("done")}
    chunks = {f"render-{index:05d}" for index in range(len(bounds) - 1)}
    failures = Counter(event["cause"] for event in events if event["what"] == "failed")
    return {
        "out": config.out,
        "out_exists": Path(config.out).is_file() and store.read("final.json") is not None,
        "chunks": len(chunks),
        "chunks_done": len(done & chunks),
        "scans_done": sum(1 for name in done if name.startswith("scan-")),
        "compared_done": sum(1 for name in done if name.startswith("compare-")),
        "failures": dict(failures),
        "last_event": events[-1] if events else None,
    }


def _events(journal: bytes) -> Iterator[dict[str, Any]]:
    """The journal's events; a line that a kill tore is passed over."""
    for line in journal.splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue


def status_text(status: dict[str, Any]) -> str:
    """The status in three lines."""
    failures = ", ".join(f"{count} {cause}" for cause, count in status["failures"].items()) or "none"
    state = "published" if status["out_exists"] else "not published yet"
    return (
        f"{status['out']}: {state}\n"
        f"chunks with a result: {status['chunks_done']} of {status['chunks']}; scans: {status['scans_done']}"
        f"{'; compared: ' + str(status['compared_done']) if status['compared_done'] else ''}\n"
        f"failed attempts: {failures}"
    )

"""How far a job is, read from its directory alone: works while it runs, after a kill, and from another machine."""

from __future__ import annotations

import json
from collections import Counter
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
    events = [json.loads(line) for line in (store.read("journal.jsonl") or b"").splitlines() if line.endswith(b"}")]
    done = {name.rpartition("/")[2].rpartition("-")[0] for name in store.names("done")}
    failures = Counter(event["cause"] for event in events if event["what"] == "failed")
    return {
        "out": config.out,
        "out_exists": Path(config.out).is_file() and store.read("final.json") is not None,
        "chunks": max(len(bounds) - 1, 0),
        "chunks_done": sum(1 for name in done if name.startswith("render-")),
        "scans_done": sum(1 for name in done if name.startswith("scan-")),
        "failures": dict(failures),
        "last_event": events[-1] if events else None,
    }


def status_text(status: dict[str, Any]) -> str:
    """The status in three lines."""
    failures = ", ".join(f"{count} {cause}" for cause, count in status["failures"].items()) or "none"
    state = "published" if status["out_exists"] else "not published yet"
    return (
        f"{status['out']}: {state}\n"
        f"chunks with a result: {status['chunks_done']} of {status['chunks']}; scans: {status['scans_done']}\n"
        f"failed attempts: {failures}"
    )

"""What a cloud's words about taking a machine away mean; pure."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime

#: Time that a notice without a readable deadline leaves.
AWS_SECONDS = 120.0
GCP_SECONDS = 30.0
#: A drain file whose time has passed by more than this is left from an earlier drain, which the machine has outlived.
STALE_S = 60.0


@dataclass(frozen=True, slots=True)
class Notice:
    """A machine goes in ``seconds`` (inf: nobody knows), says ``source``."""

    source: str
    seconds: float
    words: str

    def __str__(self) -> str:
        when = f"in {self.seconds:.0f} s" if math.isfinite(self.seconds) else "no time given"
        return f"{self.source}: {self.words}, {when}"


def notice_of_aws(text: str, now: datetime) -> Notice:
    """Meaning of an answer of ``spot/instance-action``: {"action": "terminate", "time": "2026-01-31T08:22:00Z"}.

    The answer's existence is the notice; one that can't be read counts as two minutes. A machine hibernates at once.
    """
    try:
        said = json.loads(text)
        action, at = str(said["action"]), datetime.fromisoformat(str(said["time"]))
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, KeyError, TypeError):
        return Notice("aws", AWS_SECONDS, "a notice that can't be read")
    seconds = 0.0 if action == "hibernate" else max((at - now).total_seconds(), 0.0)
    return Notice("aws", seconds, action)


def notice_of_gcp(text: str) -> Notice | None:
    """Meaning of ``instance/preempted``: TRUE is a notice, anything else none."""
    return Notice("gcp", GCP_SECONDS, "preempted") if text.strip().upper() == "TRUE" else None


def notice_of_file(text: str, age_s: float) -> Notice | None:
    """Meaning of a drain file written ``age_s`` seconds ago: the seconds that the machine had then; empty: 30. None: stale."""
    try:
        seconds = float(text.split(maxsplit=1)[0])
    except (IndexError, ValueError):
        seconds = GCP_SECONDS
    seconds = seconds if math.isfinite(seconds) else GCP_SECONDS
    if age_s > seconds + STALE_S:
        return None
    return Notice("file", max(seconds - max(age_s, 0.0), 0.0), "drain file")

"""Why an attempt on a Ray worker came to nothing: what Ray's errors say, and what only the fate of the node tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ray import exceptions as ray_errors

from orchestrator.nodes import NodeView
from orchestrator.raycluster import first_line
from orchestrator.state import AttemptFailed, Cause, cause_of


def told_cause(error: ray_errors.RayError) -> Cause | None:
    """The cause that Ray's error names; None for a death that only its node's fate can explain."""
    if isinstance(error, ray_errors.RayTaskError):
        return cause_of(error.cause)
    if isinstance(error, ray_errors.OutOfMemoryError):
        return Cause.MEMORY
    if getattr(error, "preempted", False):
        return Cause.PREEMPTED
    return Cause.INFRA if isinstance(error, ray_errors.ActorUnavailableError) else None


def told(error: ray_errors.RayError) -> str:
    """The error in one line; of an exception that the work raised, that one's type and text."""
    raised = error.cause if isinstance(error, ray_errors.RayTaskError) else error
    return f"{type(raised).__name__}: {first_line(raised)}"


@dataclass(slots=True)
class Deaths:
    """Workers that died without a word. With its node gone nobody is to blame; a process that dies on a node that still lives
    ``grace_s`` later crashed."""

    grace_s: float
    _open: list[tuple[AttemptFailed, float]] = field(default_factory=list)

    def add(self, failed: AttemptFailed, now: float) -> None:
        """A death to be judged later."""
        self._open.append((failed, now + self.grace_s))

    def judged(self, nodes: Sequence[NodeView], now: float) -> list[AttemptFailed]:
        """Deaths whose cause is known by now, by the living ``nodes``; each is told once."""
        alive = {node.id: node for node in nodes}
        known, undecided = [], []
        for failed, judged_at in self._open:
            node = alive.get(failed.node)
            if node is None:
                known.append(replace(failed, cause=Cause.INFRA))
            elif node.seconds_left is not None:
                known.append(replace(failed, cause=Cause.PREEMPTED))
            elif now >= judged_at:
                known.append(replace(failed, cause=Cause.CRASH))
            else:
                undecided.append((failed, judged_at))
        self._open = undecided
        return known

"""One reason why a job waits or failed, and which of several is the likeliest. Values, and nothing else."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal[
    "bad_spec", "operator", "webhook", "pod_security", "refused", "namespace_quota", "image", "missing", "start",
    "queue_absent", "queue_stopped", "queue_quota", "queue_flavor", "queue_check", "queue_lost", "queue",
    "run_final", "auth", "memory", "evicted", "preempted", "node_lost", "run", "fenced", "deadline", "submission",
    "no_node", "volume", "network", "crashed", "failed", "suspended", "silent", "retrying", "nodes_coming", "heartbeat",
    "starting", "store",
]  # fmt: skip

LIKELIEST_FIRST: tuple[Kind, ...] = Kind.__args__  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Reason:
    """`text` says what is wrong or awaited, `next_step` what to do about it; `about` names the object."""

    kind: Kind
    text: str
    next_step: str
    about: str = ""

    def to_json(self) -> dict[str, Any]:
        """As `roadbed jobs why --json` prints it."""
        return asdict(self)


def ranked(reasons: list[Reason]) -> list[Reason]:
    """Each reason once, the likeliest first; those alike about several objects become one that counts them."""
    alike: dict[tuple[str, str, str], list[Reason]] = {}
    for reason in reasons:
        text = reason.text.replace(reason.about, "{}") if reason.about else reason.text
        alike.setdefault((reason.kind, text, reason.next_step), []).append(reason)
    once = [_counted(found) for found in alike.values()]
    return sorted(once, key=lambda reason: LIKELIEST_FIRST.index(reason.kind))


def _counted(alike: list[Reason]) -> Reason:
    first = alike[0]
    others = len({reason.about for reason in alike}) - 1
    if not first.about or not others:
        return first
    text = first.text.replace(first.about, f"{first.about} (and {others} more)", 1)
    return Reason(first.kind, text, first.next_step, first.about)

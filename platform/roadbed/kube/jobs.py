"""A job as a user sees it: what the RayJob, its pods, Kueue and the run in the store say, joined into one state. Pure.

What users see is derived: a job whose run gives no heartbeat is "lost" whatever KubeRay says, and one whose run has
failed is "failed" although its program may have ended in peace.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from roadbed.kube.facts import JobFacts, Object, is_ready, role_of, seconds_of
from roadbed.kube.names import KIND_LABEL
from roadbed.kube.reason import Reason
from roadbed.kube.why import why
from roadbed.runs import RunStatus

JobState = Literal[
    "queued", "starting", "running", "retrying", "lost", "suspended", "stopping", "finished", "failed", "stopped"
]
GOING: tuple[JobState, ...] = ("queued", "starting", "running", "retrying", "lost", "suspended")
"""States of a job that can be stopped."""


@dataclass(frozen=True)
class JobView:
    """How a job stands. Times are in unix seconds, None for what is not known or did not happen yet.

    `pods` and `ready_pods` count head and workers, `gpus` the GPUs that they ask for now. `reasons` are those of `why`.
    """

    name: str
    namespace: str
    kind: str
    state: JobState
    reason: str
    queue: str
    step: int | None
    num_steps: int | None
    miou: float | None
    attempt: int | None
    run_state: str | None
    pods: int
    ready_pods: int
    gpus: int
    cluster: str
    ray: str
    created_at: float
    started_at: float | None
    ended_at: float | None
    now: float
    reasons: tuple[Reason, ...]

    @property
    def age_s(self) -> float:
        """From its submission to its end, or to now."""
        return max(0.0, (self.ended_at or self.now) - self.created_at)

    def to_json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return asdict(self) | {"age_s": round(self.age_s, 1)}


def job_view(
    rayjob: Object,
    pods: Sequence[Object],
    events: Sequence[Object],
    workload: Object | None,
    run_status: RunStatus | None,
    now: float,
) -> JobView:
    """The joined state of one job; arguments as in JobFacts."""
    return view_of(JobFacts(rayjob, pods, events, workload, run_status, now))


def view_of(facts: JobFacts) -> JobView:
    """As `job_view`, of all that is known."""
    run = facts.run_status
    progress: Mapping[str, Any] = run.progress if run is not None else {}
    ray_pods = [pod for pod in facts.pods if role_of(pod) != "submitter"]
    metadata, status = facts.rayjob["metadata"], facts.status
    state, reasons = state_of(facts), tuple(why(facts))
    return JobView(
        name=facts.name,
        namespace=str(metadata.get("namespace", "")),
        kind=str((metadata.get("labels") or {}).get(KIND_LABEL, "")),
        state=state,
        reason=reasons[0].text if reasons and reasons[0].kind != "store" else "",
        queue=facts.queue,
        step=run.step if run is not None else None,
        num_steps=progress.get("num_steps") or progress.get("trials"),
        miou=progress.get("miou"),
        attempt=run.attempt if run is not None else None,
        run_state=run.state if run is not None else None,
        pods=len(ray_pods),
        ready_pods=sum(map(is_ready, ray_pods)),
        gpus=sum(map(_gpus_of, ray_pods)),
        cluster=str(status.get("rayClusterName") or ""),
        ray="/".join(filter(None, [facts.deployment, str(status.get("jobStatus") or "")])),
        created_at=seconds_of(metadata.get("creationTimestamp")),
        started_at=seconds_of(status.get("startTime")) or None,
        ended_at=seconds_of(status.get("endTime")) or None,
        now=facts.now,
        reasons=reasons,
    )


def state_of(facts: JobFacts) -> JobState:
    """One word for how the job stands."""
    run = facts.own_run_status
    if facts.rayjob["metadata"].get("deletionTimestamp"):
        return "stopping"
    if facts.is_over:
        return _end_of(facts, run)
    if facts.is_waiting_for_queue:
        return "queued"
    if facts.deployment in {"Suspended", "Suspending"}:
        return "starting" if facts.queue else "suspended"
    if facts.deployment == "Retrying":
        return "retrying"
    if facts.deployment != "Running" or run is None:
        return "starting"
    return {"running": "running", "retrying": "retrying", "lost": "lost"}.get(run.state, "running")  # type: ignore[return-value]


def _end_of(facts: JobFacts, run: RunStatus | None) -> JobState:
    if facts.status.get("jobStatus") == "STOPPED" or (run is not None and run.state == "stopped"):
        return "stopped"
    if facts.deployment != "Complete" or (run is not None and run.state == "failed"):
        return "failed"
    return "finished"


def _gpus_of(pod: Object) -> int:
    """The GPUs that a pod asks for, of whatever make."""
    total = 0
    for container in (pod.get("spec") or {}).get("containers") or []:
        limits = (container.get("resources") or {}).get("limits") or {}
        total += sum(int(amount) for name, amount in limits.items() if name.endswith("/gpu"))
    return total

"""Why a job waits or failed, in sentences with a next step, the likeliest first. Pure: objects in, reasons out.

The parts: why_queue (Kueue), why_refused (what the API server does not let be made), why_pods with why_image and
why_nodes, why_run (the run itself), and here what the RayJob says.
"""

from __future__ import annotations

import re

from roadbed.kube.facts import JobFacts, Object, containers_of, is_ready, newest, seconds_of
from roadbed.kube.reason import Reason, ranked
from roadbed.kube.why_pods import why_pods
from roadbed.kube.why_queue import why_queued
from roadbed.kube.why_refused import explain_refusal, why_refused
from roadbed.kube.why_run import last_error, why_run_failed, why_run_is_silent
from roadbed.words import duration

NO_OPERATOR_S = 60.0
"""An operator that is there has seen a RayJob sooner than this."""

_AUTH = re.compile(
    r"Missing authentication token|Invalid authentication token|AuthenticationError|401 Unauthorized|"
    r"auth_token|Unauthenticated",
    re.IGNORECASE,
)


def why(facts: JobFacts) -> list[Reason]:
    """All reasons, the likeliest first; none for a job that does well or has finished."""
    run = facts.own_run_status
    if facts.deployment == "Complete" and (run is None or run.state != "failed"):
        return []
    reasons = [*_of_job(facts), *why_run_failed(facts), *why_run_is_silent(facts)]
    if facts.deployment != "ValidationFailed":
        reasons += [*why_queued(facts), *why_refused(facts), *why_pods(facts)]
    reasons = ranked(reasons) or _still_starting(facts)
    if facts.store_error:
        reasons.append(
            Reason(
                "store",
                f"what the run itself says is not known here: {facts.store_error}",
                "set AWS_ENDPOINT_URL and the store's keys for this command, or pass --store",
            )
        )
    return reasons


def _of_job(facts: JobFacts) -> list[Reason]:
    """What the RayJob's own status says, or lacks."""
    if facts.rayjob["metadata"].get("deletionTimestamp"):
        return [_being_deleted(facts)]
    if not facts.deployment:
        return _unseen(facts)
    if facts.deployment == "ValidationFailed":
        return [_bad_spec(facts.message)]
    if facts.deployment == "Failed":
        return _failed(facts)
    if facts.deployment in {"Suspended", "Suspending"} and not facts.queue:
        return [
            Reason(
                "suspended",
                "the job is suspended (spec.suspend), and no queue will wake it",
                f"`roadbed jobs resume {facts.name}`",
            )
        ]
    if facts.deployment == "Retrying":
        tries = (
            f"{facts.status.get('failed') or 0} of {(facts.rayjob['spec'].get('backoffLimit') or 0) + 1} tries failed"
        )
        said = f": {last_error(facts.message)}" if facts.message else ""
        return [
            Reason("retrying", f"KubeRay starts it again on a new cluster ({tries}){said}", "nothing, if it goes on")
        ]
    return []


def _unseen(facts: JobFacts) -> list[Reason]:
    invalid = facts.events_of("InvalidRayJobSpec", "InvalidRayJobMetadata")
    if invalid:
        return [_bad_spec(str(invalid[0].get("message") or ""))]
    if facts.age_s < NO_OPERATOR_S:
        return [Reason("starting", "KubeRay's operator has not looked at it yet", "wait a moment")]
    return [
        Reason(
            "operator",
            f"no operator has looked at it for {duration(facts.age_s)}: KubeRay is not installed, not running, or does "
            "not watch this namespace",
            "ask the administrator; `kubectl get deployments -A -l app.kubernetes.io/name=kuberay-operator` shows it",
        )
    ]


def _being_deleted(facts: JobFacts) -> Reason:
    since_s = facts.now - seconds_of(facts.rayjob["metadata"]["deletionTimestamp"])
    if since_s < 2 * NO_OPERATOR_S:
        return Reason("suspended", "it is being deleted: its pods save what they did and end", "wait a moment")
    return Reason(
        "operator",
        f"it has been asked to go {duration(since_s)} ago and is still there: the operator does not let it go",
        "ask the administrator for the KubeRay operator's log",
    )


def _bad_spec(said: str) -> Reason:
    return Reason(
        "bad_spec",
        f"KubeRay refuses the job as it is written: {said}",
        "correct it; `roadbed lint` finds this before anything is sent. Then `roadbed submit` it again",
    )


def _failed(facts: JobFacts) -> list[Reason]:
    """What KubeRay gives as the reason of a job that failed; the program's own end is why_run's."""
    reason, said = str(facts.status.get("reason") or ""), facts.message
    spec = facts.rayjob["spec"]
    if reason == "ValidationFailed":
        return [_bad_spec(said)]
    if reason == "PreRunningDeadlineExceeded":
        limit = spec.get("preRunningDeadlineSeconds")
        what = f"did not begin within {duration(limit)}" if limit else "did not begin in time"
        return [_deadline(f"the job {what} (cluster.start_deadline_h)", "see below why, or allow it more")]
    if reason == "DeadlineExceeded":
        limit = spec.get("activeDeadlineSeconds")
        what = f"took longer than {duration(limit)}" if limit else "took too long"
        resume = f"raise it and `roadbed submit` it again: the run {facts.name} goes on from its last checkpoint"
        return [_deadline(f"the job {what} (cluster.deadline_h)", resume)]
    if reason == "SubmissionFailed":
        return [_not_submitted(facts, said)]
    if reason == "JobStatusCheckTimeoutExceeded":
        return [
            Reason(
                "submission",
                f"the operator could not ask Ray's head how the job does: {said}",
                "look whether the head pod lives, and whether NetworkPolicies let the operator reach its port 8265",
            )
        ]
    if reason == "JobDeploymentStatusTransitionGracePeriodExceeded":
        return [
            Reason(
                "submission",
                f"the job ended ({facts.status.get('jobStatus')}), but its submitter did not: {said}",
                f"the run's own state counts: `roadbed runs show {facts.name}`",
            )
        ]
    if reason and reason != "AppFailed":
        return [Reason("failed", f"KubeRay gave the job up ({reason}): {said}", "submit it again")]
    return [] if said else [Reason("failed", "the job failed, and KubeRay does not say why", "see `roadbed jobs logs`")]


def _not_submitted(facts: JobFacts, said: str) -> Reason:
    """The submitter could not hand the program to Ray's head: no token, no way there, or no pod of its own."""
    pod = newest(facts.pods, "submitter")
    last = last_error("\n".join(_last_words(pod)) if pod else "")
    if _AUTH.search(f"{said} {last}"):
        return Reason(
            "auth",
            f"Ray's head refused the submitter's token: {last or said}",
            "the Secret of the cluster's token must be the one that both use: delete the job and submit it again",
        )
    if "violates PodSecurity" in said or "exceeded quota" in said:
        return explain_refusal(said, "submitter")
    return Reason(
        "submission",
        "the submitter could not hand the program to Ray's head" + (f": {last}" if last else "") + f" ({said})",
        "look whether the head pod was ready, and whether NetworkPolicies let the submitter reach its port 8265",
    )


def _last_words(pod: Object) -> list[str]:
    ends = [((one.get("state") or {}).get("terminated") or {}) for one in containers_of(pod)]
    return [str(end.get("message")) for end in ends if end.get("message")]


def _deadline(text: str, next_step: str) -> Reason:
    return Reason("deadline", text, next_step)


def _still_starting(facts: JobFacts) -> list[Reason]:
    """Nothing is wrong, and it does not run yet."""
    is_submitting = facts.deployment == "Running" and facts.status.get("jobStatus") in (None, "", "PENDING")
    if not is_submitting and facts.deployment not in {"Initializing", "Waiting"}:
        return []
    missing = [pod for pod in facts.pods if not is_ready(pod)]
    done = len(facts.pods) - len(missing)
    what = f"{done} of {len(facts.pods)} pods are ready" if facts.pods else "its pods are being made"
    return [Reason("starting", f"it is starting: {what}", "wait: an image that is new to a node takes minutes")]

"""How many pods a job needs, what they hold, and what they may cost. Arithmetic alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

from roadbed.errors import UsageError
from roadbed.kube.profile import Profile, WorkerProfile
from roadbed.spec import TrainJob, TuneJob, WorkersSpec

ClusterJob = TrainJob | TuneJob


@dataclass(frozen=True)
class Size:
    """The worker pods of a job: `min_pods` at its start, `max_pods` if it grows, `workers_per_pod` in each."""

    workers_per_pod: int
    min_pods: int
    max_pods: int
    trials_at_once: int = 1

    @property
    def is_elastic(self) -> bool:
        """Whether the number of pods may change while the job runs."""
        return self.min_pods < self.max_pods


def size_of(job: ClusterJob, pod: WorkerProfile) -> Size:
    """The pods for a job's workers. Raises UsageError, with the arithmetic, where a pod or the profile is too small."""
    per_pod = workers_per_pod(job.workers, pod)
    number = job.workers.num_workers
    if isinstance(job, TrainJob):
        return Size(per_pod, math.ceil(number.min / per_pod), math.ceil(number.max / per_pod))
    at_once = job.tune.max_concurrent or pod.max_pods * per_pod // number.min
    at_once = min(at_once, job.tune.trials + job.tune.baseline)
    if at_once < 1:
        raise UsageError(
            f"a trial never fits: {number.min} workers at {per_pod} a pod need {math.ceil(number.min / per_pod)} pods, "
            f"the profile's worker.max_pods is {pod.max_pods}; lower workers.num_workers or take another profile"
        )
    most = math.ceil(at_once * number.max / per_pod)
    least = math.ceil(number.min / per_pod)
    return Size(per_pod, least, max(least, most if job.tune.max_concurrent else min(most, pod.max_pods)), at_once)


def workers_per_pod(workers: WorkersSpec, pod: WorkerProfile) -> int:
    """How many training workers a pod holds. Raises UsageError if none."""
    counts = [pod.cpus // workers.cpus_per_worker]
    if workers.gpus_per_worker:
        counts.append(pod.gpus // workers.gpus_per_worker)
    if min(counts) < 1:
        raise UsageError(
            f"no worker fits a pod of the profile: it takes {workers.cpus_per_worker} CPU and "
            f"{workers.gpus_per_worker} GPU, the pod has {pod.cpus} CPU and {pod.gpus} GPU; lower "
            "workers.cpus_per_worker or workers.gpus_per_worker, or take another profile with --profile"
        )
    return min(counts)


def promised(job: ClusterJob, size: Size) -> tuple[int, int]:
    """CPUs and GPUs that the workers of a fully grown cluster can use."""
    most = size.max_pods * size.workers_per_pod
    return most * job.workers.cpus_per_worker, most * job.workers.gpus_per_worker


def estimate(job: ClusterJob, profile: Profile, size: Size) -> str:
    """What the job takes at most, in two lines: pods, and hours of CPUs and GPUs at its deadline."""
    workers, pod, head = job.workers, profile.worker, profile.head
    gpus = f", {pod.gpus} GPU" if pod.gpus else ""
    each = f"{workers.cpus_per_worker} CPU" + (f" and {workers.gpus_per_worker} GPU" if workers.gpus_per_worker else "")
    trials = f", {size.trials_at_once} trials at once" if isinstance(job, TuneJob) else ""
    pods = f"{size.min_pods} to {size.max_pods}" if size.is_elastic else str(size.max_pods)
    return (
        f"{pods} worker pod{'s' * (size.max_pods > 1)} of {pod.cpus} CPU{gpus}, {pod.memory_gib:g} GiB for "
        f"{workers.num_workers} worker{'s' * (workers.num_workers.max > 1)} of {each}{trials}; "
        f"a head of {head.cpus} CPU, {head.memory_gib:g} GiB\n{_cost(job, profile, size)}"
    )


def _cost(job: ClusterJob, profile: Profile, size: Size) -> str:
    pod, hours = profile.worker, _hours(job)
    cpus = size.max_pods * pod.cpus + profile.head.cpus
    gpus = size.max_pods * pod.gpus
    if hours is None:
        what = f"{gpus} GPU-hours and {cpus} CPU-hours" if gpus else f"{cpus} CPU-hours"
        return f"at most {what} in every hour; no deadline (cluster.deadline_h sets one)"
    what = f"{gpus * hours:g} GPU-hours and {cpus * hours:g} CPU-hours" if gpus else f"{cpus * hours:g} CPU-hours"
    retries = job.cluster.retries if hours == job.cluster.deadline_h else 0
    again = f", which each of {retries} retries has anew" if retries else ""
    return f"at most {what} at its deadline of {hours:g} h{again}"


def _hours(job: ClusterJob) -> float | None:
    """Hours after which the job ends in any case; None without such a limit."""
    limits = [job.cluster.deadline_h, job.tune.hours if isinstance(job, TuneJob) else None]
    return min((limit for limit in limits if limit is not None), default=None)

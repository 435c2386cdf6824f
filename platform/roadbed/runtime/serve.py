"""The endpoint on Ray Serve: one deployment that is ingress and model, so that no request is copied between two."""

from __future__ import annotations

import logging
import os
import socket
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roadbed.errors import RoadbedError, UsageError
from roadbed.runtime.local.processes import free_ports, without_proxy
from roadbed.runtime.local.variables import variables_set
from roadbed.runtime.serve_policy import WAITING, replicas_for_waiting
from roadbed.runtime.serve_variables import SERVE_VARIABLES, haproxy_variables
from roadbed.runtime.session import is_ray_remote, ray_connection, worker_environment
from roadbed.spec import ServeJob, dump_job, parse_kind

KEYS_VARIABLE = "ROADBED_API_KEY_HASHES"

# Bodies are read inside a replica: as many as may come slowly at the same time.
OPEN_REQUESTS = 200
LOOK_BACK_S = 2.0
PUSH_S = 1.0
START_TIMEOUT_S = 120.0
SHUTDOWN_S = 20.0
APPLICATION = "roadbed"


class Endpoint:
    """What runs in a replica. The model is loaded and warm before the replica is ready, if there is one yet."""

    def __init__(self, spec: str, key_hashes: Sequence[str]) -> None:
        import torch

        from roadbed.registry import Registry
        from roadbed.runtime.metrics import RayMetrics
        from roadbed.serving.follower import Follower
        from roadbed.serving.service import Service
        from roadbed.storage import open_store

        job = parse_kind(ServeJob, spec, origin="the endpoint's spec")
        torch.set_num_threads(job.serve.replicas.threads)
        registry = Registry(open_store(job.output.store))
        self._metrics = RayMetrics(job.name)
        self._follower = Follower(job.serve, registry, metrics=self._metrics)
        self._service = Service(job.serve, self._follower, metrics=self._metrics)
        self._key_hashes = tuple(key_hashes)
        self._follower.start()

    def __serve_build_asgi_app__(self) -> Any:
        """The application, made where it runs."""
        from roadbed.serving.app import make_app

        return make_app(self._service, key_hashes=self._key_hashes, repeats_ids=False)

    def record_autoscaling_stats(self) -> dict[str, float]:
        """What `serve_policy` goes by; Ray asks for it."""
        return {WAITING: float(self._service.num_waiting)}

    def __del__(self) -> None:
        """Ray calls it when the replica ends, after the requests that it had."""
        self._service.stop()
        self._metrics.close()


@dataclass(frozen=True)
class Served:
    """An endpoint that answers at `url`."""

    url: str

    def get(self, path: str, *, timeout_s: float = 10.0) -> tuple[int, bytes]:
        """Status and body of a GET. Raises OSError where nobody answers."""
        try:
            with without_proxy().open(f"{self.url}{path}", timeout=timeout_s) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()


@contextmanager
def served(
    job: ServeJob,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    with_haproxy: bool = False,
    notify: Callable[[str], None] = lambda _: None,
) -> Iterator[Served]:
    """The endpoint of a job for the time of the block, on the Ray of RAY_ADDRESS or on one of its own.

    For a process that ends soon after: what Ray Serve leaves behind in its driver is not made to live on without Ray.

    `host` and `port` 0 (any free one) are those of the HTTP server; a Ray that runs already must have been started with
    `serve_variables` for HAProxy. Raises UsageError where that Ray serves something already, RoadbedError.
    """
    check_port(host, port)
    with ExitStack() as stack:
        if not os.environ.get("RAY_ADDRESS"):
            variables = dict(SERVE_VARIABLES)
            if with_haproxy:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rb-ha-")))
                ports = free_ports(2)
                limits = job.serve.limits
                variables |= haproxy_variables(
                    folder,
                    body_bytes=round(limits.body_mb * 1e6),
                    body_timeout_s=limits.body_timeout_s,
                    ports=(ports[0], ports[1]),
                )
            stack.enter_context(variables_set(variables))
        notify("starting Ray Serve")
        replicas = job.serve.replicas
        stack.enter_context(ray_connection(num_cpus=replicas.max * replicas.threads + 1))
        yield stack.enter_context(_deployed(job, host=host, port=port))


def check_port(host: str, port: int) -> None:
    """Raises UsageError if nobody can listen there; where Ray is on other machines, it finds out itself."""
    if is_ray_remote():
        return
    try:
        with socket.create_server((host, port)):
            return
    except OSError as error:
        raise UsageError(
            f"{host}:{port} cannot be listened at ({error.strerror}); choose another --port, 0 for any free one"
        ) from None


@contextmanager
def _deployed(job: ServeJob, *, host: str, port: int) -> Iterator[Served]:
    from ray import serve
    from ray.serve.config import HTTPOptions
    from ray.serve.exceptions import RayServeException
    from ray.serve.schema import LoggingConfig

    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    _refuse_second()
    quiet = LoggingConfig(enable_access_log=False, log_level="WARNING")
    serve.start(http_options=HTTPOptions(host=host, port=port), logging_config=quiet)
    try:
        serve.run(deployment(job), name=APPLICATION, route_prefix="/", logging_config=quiet)
        yield Served(f"http://{host}:{port}")
    except (RayServeException, RuntimeError) as error:
        raise RoadbedError(f"the endpoint could not be started: {error}") from error
    finally:
        serve.shutdown()


def application(args: dict[str, Any]) -> Any:
    """The application for Ray Serve's configuration files, by which KubeRay deploys it.

    `args` is {job: a job spec of kind serve}. The pods that replicas run in have what they need of the environment (the
    store, its credentials) themselves, and no part of it is repeated where Ray's dashboard would show it.

    Raises UsageError; Ray tells its text in the state of the application.
    """
    job = ServeJob.parse(args.get("job"), origin="args.job")
    if unknown := sorted(set(args) - {"job"}):
        raise UsageError(f"args: unknown key {', '.join(unknown)}; all of an endpoint's spec stands under job")
    return deployment(job, environment={})


def deployment(job: ServeJob, *, environment: Mapping[str, str] | None = None) -> Any:
    """The application of a job for `serve.run`. `environment` is what replicas get of it, the driver's if None."""
    from ray import serve
    from ray.serve.config import AutoscalingConfig, AutoscalingPolicy

    replicas = job.serve.replicas
    given = worker_environment() if environment is None else environment
    environment = {**given, "OMP_NUM_THREADS": str(replicas.threads)}
    made = serve.deployment(
        serve.ingress()(Endpoint),
        name="segment",
        max_ongoing_requests=OPEN_REQUESTS,
        graceful_shutdown_timeout_s=SHUTDOWN_S,
        health_check_period_s=5,
        health_check_timeout_s=30,
        ray_actor_options={"num_cpus": replicas.threads, "runtime_env": {"env_vars": environment}},
        autoscaling_config=AutoscalingConfig(
            min_replicas=replicas.min,
            initial_replicas=max(1, replicas.min),
            max_replicas=replicas.max,
            target_ongoing_requests=replicas.target_requests,
            policy=AutoscalingPolicy(
                policy_function=f"{replicas_for_waiting.__module__}:{replicas_for_waiting.__name__}"
            ),
            look_back_period_s=LOOK_BACK_S,
            metrics_interval_s=PUSH_S,
            upscale_delay_s=replicas.upscale_delay_s,
            downscale_delay_s=replicas.downscale_delay_s,
        ),
    )
    return made.bind(dump_job(job), key_hashes())


def key_hashes() -> list[str]:
    """sha256 (hex) of the keys that open the endpoint, of the environment; none: it is open. Raises UsageError."""
    texts = [text.strip() for text in os.environ.get(KEYS_VARIABLE, "").split(",") if text.strip()]
    for text in texts:
        if len(text) != 64 or set(text.lower()) - set("0123456789abcdef"):
            raise UsageError(
                f"{KEYS_VARIABLE}: expected sha256 sums in hex with commas between, found a text of {len(text)} "
                f"characters; make one with `printf %s KEY | sha256sum`"
            )
    return texts


def _refuse_second() -> None:
    from ray import serve

    applications = serve.status().applications
    if applications:
        raise UsageError(f"this Ray serves {', '.join(applications)} already; stop that first, or use another Ray")


def wait_until_answered(endpoint: Served, *, timeout_s: float = START_TIMEOUT_S) -> tuple[int, bytes]:
    """What /readyz says as soon as anybody answers. Raises RoadbedError if nobody does in time."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            status, body = endpoint.get("/readyz")
            if status in (200, 503) and body.startswith(b"{"):
                return status, body
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise RoadbedError(f"nobody answers at {endpoint.url} after {timeout_s:.0f} s; is the port taken?")
        time.sleep(0.2)

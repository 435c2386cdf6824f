"""A connection to Ray for the time of a job: the one that RAY_ADDRESS names, or one of our own on this machine."""

from __future__ import annotations

import logging
import math
import os
import secrets
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from textwrap import shorten
from typing import Any

from roadbed.errors import RoadbedError, UsageError
from roadbed.runtime.local.head import STARTUPS_PER_CPU
from roadbed.runtime.local.processes import free_ports
from roadbed.runtime.local.variables import variables_set
from roadbed.spec import WorkersSpec

PROBE_TIMEOUT_S = 10.0
# What `roadbed submit` tells the head of a cluster that grows with what is asked of it.
MAY_GROW_TO = {"CPU": "ROADBED_CLUSTER_CPUS", "GPU": "ROADBED_CLUSTER_GPUS"}


def worker_environment() -> dict[str, str]:
    """What workers on this machine need of the driver's environment: how to reach the store. Pods have their own."""
    if is_ray_remote():
        return {}
    return {name: value for name, value in os.environ.items() if name.startswith("AWS_")}


def is_ray_remote() -> bool:
    """Whether RAY_ADDRESS leads to other machines, which see none of the folders of this one.

    In the pod of a head it is on loopback, and its workers are other pods nevertheless.
    """
    address = os.environ.get("RAY_ADDRESS", "")
    return bool(address) and ("KUBERNETES_SERVICE_HOST" in os.environ or not address.startswith("127.0.0.1"))


@contextmanager
def ray_session(workers: WorkersSpec) -> Iterator[None]:
    """A connection to Ray for training workers. Raises UsageError if it cannot hold the fewest of them."""
    with ray_connection(num_cpus=workers.num_workers.max * workers.cpus_per_worker) as resources:
        _check_resources(workers, resources)
        yield


@contextmanager
def ray_connection(*, num_cpus: int, needs_state: bool = False) -> Iterator[dict[str, float]]:
    """The Ray of RAY_ADDRESS, or one of our own on this machine, on loopback, for this time; what it has or grows to.

    One of our own says that it has `num_cpus` CPUs or more. `needs_state`: processes of Ray's will ask it for the state
    of others. They do so through the dashboard, which it is given then; and they are told the address in their
    environment, for Ray lets them guess it, which fails where a machine has several.
    """
    with ExitStack() as stack:
        settings: dict[str, Any] = {"address": os.environ.get("RAY_ADDRESS")}
        if not settings["address"]:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rb-", ignore_cleanup_errors=True)))
            stack.enter_context(_own_token(scratch))
            settings = {
                "address": "local",
                "num_cpus": max(os.cpu_count() or 1, num_cpus),
                "include_dashboard": needs_state,
                "_node_ip_address": "127.0.0.1",
                "_temp_dir": str(scratch / "ray"),
            }
            if needs_state:
                port = free_ports(1)[0]
                startups = str(STARTUPS_PER_CPU * settings["num_cpus"])
                needed = {"RAY_GCS_SERVER_PORT": str(port), "RAY_worker_maximum_startup_concurrency": startups}
                stack.enter_context(variables_set(needed))
                settings["runtime_env"] = {"env_vars": {"RAY_ADDRESS": f"127.0.0.1:{port}"}}
        elif needs_state:
            settings["runtime_env"] = {"env_vars": {"RAY_ADDRESS": settings["address"]}}
        import ray

        read_environment_anew()
        try:
            probe(settings["address"])
            with own_signals():
                ray.init(**settings, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            raise RoadbedError(
                f"Ray at {settings['address']} cannot be reached: {last_line(error)}; check RAY_ADDRESS and its "
                f"token, or unset it to work on this machine"
            ) from error
        stack.callback(ray.shutdown)
        yield grown(ray.cluster_resources(), os.environ)


def grown(resources: Mapping[str, float], environment: Mapping[str, str]) -> dict[str, float]:
    """The resources that a cluster has, or may grow to where who made it says so in the environment of its head."""
    told = {resource: float(environment.get(name, 0)) for resource, name in MAY_GROW_TO.items()}
    return {**resources, **{name: most for name, most in told.items() if most > resources.get(name, 0.0)}}


def probe(address: str) -> None:
    """Raises OSError if nobody listens at HOST:PORT; Ray itself would try for minutes. Other forms are left to Ray."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=PROBE_TIMEOUT_S).close()


@contextmanager
def own_signals() -> Iterator[None]:
    """Keep what SIGTERM and Ctrl-C do after Ray: it sets handlers of its own, and leaves them when it is done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _own_token(folder: Path) -> Iterator[None]:
    """Unless the environment says how, protect our own Ray by a token that does not lie in the home folder."""
    if "RAY_AUTH_MODE" in os.environ:
        yield
        return
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    names = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    os.environ.update(names)
    try:
        yield
    finally:
        for name in names:
            os.environ.pop(name, None)


def read_environment_anew() -> None:
    """Let Ray look at what the environment says now of token and loopback; by itself it looks once in a process's life.

    At the token it looks when it first needs one, at the other when it is imported: then it would look for a head on
    loopback at the machine's own address. Ray has no public call for either. Source: ray/_private/ray_constants.py;
    ray/_private/authentication_test_utils.py (the mode before the token, for threads of a connection that is ending
    may ask for a token in between).
    """
    from ray._private import ray_constants
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

    ray_constants.ENABLE_RAY_CLUSTER = ray_constants.env_bool(
        ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR, not ray_constants.IS_WINDOWS_OR_OSX
    )
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


def _check_resources(workers: WorkersSpec, there: dict[str, float]) -> None:
    for resource, each in (("CPU", workers.cpus_per_worker), ("GPU", workers.gpus_per_worker)):
        fewest = workers.num_workers.min
        needed = fewest * each
        if needed > there.get(resource, 0):
            raise UsageError(
                f"workers: {fewest} workers x {each} {resource} = {needed} {resource}, but this Ray "
                f"cluster has {math.floor(there.get(resource, 0))}; lower workers.num_workers or "
                f"workers.{resource.lower()}s_per_worker"
            )


def last_line(error: BaseException) -> str:
    """What an error of Ray says last, without its page of advice."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return shorten(lines[-1], 200, placeholder=" ...") if lines else type(error).__name__

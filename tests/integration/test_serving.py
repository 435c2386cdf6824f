"""The endpoint on a real Ray Serve: the same masks as predict, promotions without a gap, replicas that come and go."""

from __future__ import annotations

import http.client
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from roadbed.inference.images import read_image
from roadbed.inference.predictor import Predictor
from roadbed.registry import Registry
from roadbed.runtime.local import LocalState, metrics_urls
from roadbed.runtime.local.processes import free_ports
from roadbed.runtime.serve import Served
from roadbed.storage import open_store
from roadbed.watching import Watcher
from serving_support import pixels, promote, publish, replicas_below, saved

pytestmark = [pytest.mark.s3, pytest.mark.ray]

PATIENCE_S = 90.0
ROOT = "s3://roadbed/serving"


def ask(endpoint: Served, body: bytes, accept: str = "image/png") -> tuple[int, dict[str, str], bytes]:
    host, _, port = endpoint.url.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    try:
        connection.request("POST", "/v1/segment", body, {"Content-Type": "image/png", "Accept": accept})
        answer = connection.getresponse()
        return (
            answer.status,
            {name.lower(): ", ".join(answer.headers.get_all(name, [])) for name in answer.headers},
            answer.read(),
        )
    finally:
        connection.close()


def until(is_so: object, what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():  # type: ignore[operator]
        assert time.monotonic() < deadline, f"waited {PATIENCE_S} s for {what}"
        time.sleep(0.1)


@contextmanager
def commanded(*words: str, environment: Mapping[str, str]) -> Iterator[tuple[str, Served, int]]:
    """What `roadbed serve` says, its endpoint, and its pid; ended as by Ctrl-C, and killed if it still runs then.

    A process of its own: a driver that used Ray Serve must not live on without Ray (its handles would reach for it).
    """
    port = free_ports(1)[0]
    command = [sys.executable, "-m", "roadbed", "serve", *words, "--port", str(port)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, env=dict(environment)) as process:
        try:
            said = process.stdout.readline()
            assert f"http://127.0.0.1:{port} - Ctrl-C stops it" in said, said
            yield said, Served(f"http://127.0.0.1:{port}"), process.pid
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
    assert process.returncode == 0, err
    assert "Traceback" not in err


@pytest.fixture(scope="module")
def registry(s3_server: LocalState) -> Registry:
    return Registry(open_store(ROOT))


@contextmanager
def asked(endpoint: Served, body: bytes, *, askers: int) -> Iterator[list[int | None]]:
    """The statuses of the answers so far, None for a lost one, while so many ask one after another."""
    statuses: list[int | None] = []
    stopped = threading.Event()

    def keep_asking() -> None:
        while not stopped.is_set():
            statuses.append(ask_or_none(endpoint, body))

    with ThreadPoolExecutor(askers) as pool:
        for _ in range(askers):
            pool.submit(keep_asking)
        try:
            yield statuses
        finally:
            stopped.set()


@pytest.fixture(scope="module")
def endpoint(registry: Registry, ray_head: LocalState, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Begins without any model."""
    spec = tmp_path_factory.mktemp("spec") / "street.yaml"
    replicas = {"min": 1, "max": 2, "upscale_delay_s": 0.5, "downscale_delay_s": 2}
    serve = {"model": "road@champion", "engine": "torch", "follow_s": 0.5, "replicas": replicas}
    spec.write_text(yaml.safe_dump({"kind": "serve", "serve": serve, "output": {"store": ROOT}}))
    with commanded(str(spec), environment=os.environ) as (said, there, _):
        assert said.startswith("waiting for a model at ")
        status, body = there.get("/readyz")
        assert (status, json.loads(body)["error"]["code"]) == (503, "no_model")
        assert there.get("/healthz")[0] == 200
        promote(registry, publish(registry))
        until(lambda: there.get("/readyz")[0] == 200, "the first model")
        yield there


def test_a_mask_is_that_of_predict(endpoint: Served, registry: Registry) -> None:
    body = saved(pixels())
    status, headers, mask = ask(endpoint, body)
    assert (status, headers["content-type"]) == (200, "image/png"), mask
    assert re.fullmatch(r"[\w-]+", headers["x-request-id"])  # one, though Ray and the application know it
    version = registry.resolve(headers["x-model"])
    with Image.open(io.BytesIO(mask)) as picture:
        assert np.array_equal(np.asarray(picture), Predictor.load(version).predict(read_image(body)))
    status, _, answer = ask(endpoint, b"no picture", "application/json")
    assert (status, json.loads(answer)["error"]["code"]) == (415, "not_an_image")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
def test_masks_of_every_format_are_those_of_predict(endpoint: Served, registry: Registry, kind: str) -> None:
    body = saved(pixels(61, 83), kind)
    status, headers, mask = ask(endpoint, body)
    assert status == 200, mask
    with Image.open(io.BytesIO(mask)) as picture:
        expected = Predictor.load(registry.resolve(headers["x-model"])).predict(read_image(body))
        assert np.array_equal(np.asarray(picture), expected)


def test_promotions_under_load_lose_nothing(endpoint: Served, registry: Registry) -> None:
    """Every answer of four askers is right for the version that it names, from the first to the second and back."""
    body, image = saved(pixels()), read_image(saved(pixels()))
    expected, answers, stopped = {}, [], threading.Event()

    def keep_asking() -> None:
        while not stopped.is_set():
            answers.append(ask(endpoint, body))

    second = publish(registry, seed=1)
    for number in (1, second):
        expected[f"road:{number}"] = Predictor.load(registry.resolve(f"road:{number}")).predict(image)
    with ThreadPoolExecutor(4) as pool:
        askers = [pool.submit(keep_asking) for _ in range(4)]
        try:
            for number in (second, 1):
                promote(registry, number)
                until(
                    lambda number=number: answers[-1:] and answers[-1][1].get("x-model") == f"road:{number}", "the swap"
                )
        finally:
            stopped.set()
        for asker in askers:
            asker.result()
    assert {status for status, _, _ in answers} == {200}
    assert {headers["x-model"] for _, headers, _ in answers} == set(expected)
    for _, headers, mask in answers:
        with Image.open(io.BytesIO(mask)) as picture:
            assert np.array_equal(np.asarray(picture), expected[headers["x-model"]])


def test_load_brings_a_second_replica_and_its_death_is_got_over(endpoint: Served, ray_head: LocalState) -> None:
    head = ray_head.ray.process.pid
    body = saved(pixels(240, 320))
    with asked(endpoint, body, askers=8):
        until(lambda: len(replicas_below(head)) == 2, "a second replica")
    # What was asked of it is lost: the default proxy cannot promise more.
    os.kill(replicas_below(head)[0], signal.SIGKILL)
    until(lambda: ask_or_none(endpoint, body) == 200, "an answer after a replica's death")


def test_top_sees_it_by_what_its_ray_tells(endpoint: Served, ray_head: LocalState) -> None:
    assert ask(endpoint, saved(pixels()))[0] == 200
    looks = Watcher(
        open_store(ROOT),
        url=endpoint.url,
        metrics_urls=lambda: metrics_urls(ray_head.folder),
        get=lambda url: Served(url).get(""),
    )

    def is_told() -> bool:
        look = looks.look(most_runs=1, most_sweeps=1)
        assert (look.is_ready, look.said.startswith("ready, road:"), look.problems) == (True, True, [])
        return any(one.versions and one.p95_s and one.requests.get("200") for one in look.endpoints)

    until(is_told, "what Ray's agent tells every 10 s")


def test_slow_senders_keep_nobody_waiting(endpoint: Served) -> None:
    """Ten that send a byte now and then, and say that a large picture comes."""
    host, _, port = endpoint.url.removeprefix("http://").partition(":")
    head = b"POST /v1/segment HTTP/1.1\r\nHost: here\r\nContent-Type: image/png\r\nContent-Length: 900000\r\n\r\n"
    with ExitStack() as stack:
        senders = [stack.enter_context(socket.create_connection((host, int(port)), timeout=60)) for _ in range(10)]
        for sender in senders:
            sender.sendall(head)
        for _ in range(5):
            for sender in senders:
                sender.sendall(b"\x89")
            assert ask(endpoint, saved(pixels()))[0] == 200
        assert endpoint.get("/readyz")[0] == 200


def ask_or_none(endpoint: Served, body: bytes) -> int | None:
    try:
        return ask(endpoint, body)[0]
    except (OSError, http.client.HTTPException):
        return None


def test_a_second_endpoint_on_the_same_ray_is_refused(endpoint: Served) -> None:
    command = ["serve", "road@champion", "--store", ROOT, "--port", str(free_ports(1)[0])]
    done = subprocess.run([sys.executable, "-m", "roadbed", *command], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "this Ray serves roadbed already; stop that first" in done.stderr
    assert endpoint.get("/readyz")[0] == 200


@contextmanager
def own_endpoint(folder: Path, *words: str, **settings: object) -> Iterator[tuple[str, Served, int]]:
    """As `commanded`, with a Ray of its own, over a registry in a folder."""
    registry = Registry(open_store(str(folder)))
    promote(registry, publish(registry))
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environment["ROADBED_LOCAL_DIR"] = str(folder / "local")
    given = [word for name, value in settings.items() for word in ("--set", f"serve.{name.replace('__', '.')}={value}")]
    store = ("--store", f"file://{folder}")
    with commanded(
        "road@champion", *store, *words, "--set", "serve.engine=torch", *given, environment=environment
    ) as it:
        yield it


def test_the_command_says_where_sleeps_wakes_and_stops_cleanly(tmp_path: Path) -> None:
    with own_endpoint(tmp_path, replicas__min=0, replicas__downscale_delay_s=1) as (said, endpoint, pid):
        assert said.startswith("serving road:1 (road@champion) at ")
        assert ask(endpoint, saved(pixels()))[0] == 200
        until(lambda: not replicas_below(pid), "sleep")
        assert ask(endpoint, saved(pixels()))[0] == 200


def test_behind_haproxy_replicas_that_die_cost_no_answer(tmp_path: Path) -> None:
    """Killed one after another, with bodies of which HAProxy must still have the whole when it asks another one."""
    body = saved(pixels(256, 300))
    assert len(body) > 200_000
    settings = {"replicas__min": 2, "replicas__max": 2, "limits__body_mb": 1}
    with own_endpoint(tmp_path, "--haproxy", **settings) as (_, endpoint, pid):
        until(lambda: len(replicas_below(pid)) == 2, "the second replica")
        with asked(endpoint, body, askers=4) as statuses:
            for _ in range(3):
                whole = len(statuses)
                until(lambda whole=whole: len(statuses) > whole + 8, "answers")
                os.kill(replicas_below(pid)[0], signal.SIGKILL)
                until(lambda: len(replicas_below(pid)) == 2, "a new replica")
        assert set(statuses) == {200}, statuses

"""What takes time: bodies that stall or trickle, a store that restarts, credentials that expire, clocks that differ."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from pathlib import Path

import pytest

from fault_proxy import Proxy, proxied
from faults import Fault, slowly, stalled, status_of
from roadbed.errors import StoreError
from roadbed.runtime import local
from roadbed.storage import open_store, s3_body
from roadbed.storage.s3 import S3Store
from roadbed.storage.s3_connection import Connection, Patience

pytestmark = pytest.mark.s3

DATA = bytes(range(256)) * 400
EXPIRED = status_of(400, "ExpiredToken")
FOLDER = f"deadlines/{uuid.uuid4().hex}"
URI = f"s3://roadbed/{FOLDER}"


@pytest.fixture
def proxy(s3_server: local.LocalState, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    assert s3_server.store is not None
    with proxied(s3_server.store.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield proxy


def patient(**seconds: float) -> S3Store:
    """A store with a patience of its own, at FOLDER of the bucket."""
    return S3Store(Connection(URI, Patience(**seconds)), "roadbed", FOLDER)


def test_a_read_that_stalls_is_broken_off_and_repeated(proxy: Proxy, tmp_path: Path) -> None:
    store = patient(silence_s=0.5)
    store.put("a", DATA)
    proxy.spoil("GET", stalled)
    assert store.get("a") == DATA
    proxy.spoil("GET", stalled)
    assert store.get_range("a", 256, 512) == DATA[:512]
    proxy.spoil("GET", stalled)
    store.download("a", tmp_path / "a")
    assert (proxy.num_spoilt, store.stats.num_retries) == (3, 3)


def test_a_read_that_always_stalls_is_an_error(proxy: Proxy) -> None:
    store = patient(silence_s=0.3, budget_s=1.5)
    store.put("a", DATA)
    proxy.spoil("GET", stalled, times=100)
    with pytest.raises(StoreError, match=rf"^{URI}/a: .*{proxy.url} .*ReadTimeoutError, ReadTimeoutError"):
        store.get("a")


def test_what_is_slow_but_alive_passes(proxy: Proxy) -> None:
    store = patient(silence_s=0.5, budget_s=0.5, slowest_bytes_s=10_000)
    store.put("a", DATA)
    proxy.spoil("GET", slowly(piece_bytes=5_000, pause_s=0.1))
    assert store.get("a") == DATA
    assert store.stats.num_retries == 0


def test_what_trickles_for_ever_is_given_up(proxy: Proxy) -> None:
    store = patient(silence_s=5, budget_s=0.5, slowest_bytes_s=100_000)
    store.put("a", DATA)
    proxy.spoil("GET", slowly(piece_bytes=100, pause_s=0.1))
    with pytest.raises(
        StoreError, match=rf"^{URI}/a: {proxy.url} did not bring 102400 bytes in time, given up after 1 request in"
    ):
        store.get("a")
    assert store.get("a") == DATA


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_that_was_forked_during_a_read_leaves_its_parents_connections_alone() -> None:
    """A real child, which begins a read of its own; what its parent read then is over, the connection in use again."""
    watchdog, (near, far) = s3_body._watchdog, socket.socketpair()
    with near, far:
        ends_at = time.monotonic() + 2 * watchdog._tick_s
        with watchdog.watched(s3_body.Reading(ends_at, lambda: near.shutdown(socket.SHUT_RD))), watchdog._lock:
            child = os.fork()
            if not child:
                signal.alarm(20)
                with watchdog.watched(s3_body.Reading(time.monotonic() + 60, lambda: os._exit(1))):
                    time.sleep(6 * watchdog._tick_s)
                os._exit(0)
            watchdog._readings.clear()
        assert os.waitpid(child, 0)[1] == 0, "no lock of its parent's threads held it up"
        far.send(b"x")
        assert near.recv(1) == b"x"


def test_connections_are_used_again_after_a_body(proxy: Proxy, s3_server: local.LocalState) -> None:
    store = patient()
    store.put("a", DATA)
    pools = store._connection.client._endpoint.http_session._manager.pools
    for _ in range(5):
        store.get("a")
        store.get_range("a", 0, 10)
    assert [pools[key].num_connections for key in pools.keys()] == [1]  # noqa: SIM118  (a container without iteration)


def test_a_store_that_is_killed_and_starts_again_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, s3_server: object
) -> None:
    folder = tmp_path / "local"
    state = local.up(folder, with_ray=False)
    assert state.store is not None
    try:
        for name, value in local.environment(state).items():
            monkeypatch.setenv(name, value)
        # Through the proxy, which keeps no port of the server's busy, so that the server gets its own ones again.
        with proxied(state.store.endpoint) as proxy:
            monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
            store = open_store("s3://roadbed/restart")
            for number in range(8):
                store.put(f"{number}", DATA)
            os.kill(state.store.process.pid, signal.SIGKILL)
            restart = threading.Timer(1.0, lambda: local.up(folder, with_ray=False))
            restart.start()
            with ThreadPoolExecutor(8) as pool:
                assert [*pool.map(lambda number: store.get(f"{number}"), range(8))] == [DATA] * 8
            restart.join()
            assert store.stats.num_retries >= 8
    finally:
        local.down(folder)


@pytest.fixture
def renewable(
    s3_server: local.LocalState, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[tuple[Proxy, Path]]:
    """A proxy that signs by itself, and the file in which credentials are looked for; it holds the key OLD."""
    assert s3_server.store is not None
    file = tmp_path / "credentials"
    write_key(file, "OLD")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    with proxied(s3_server.store.endpoint, keys=(s3_server.store.access_key, s3_server.store.secret_key)) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield proxy, file


def write_key(file: Path, name: str) -> None:
    file.write_text(f"[default]\naws_access_key_id = {name}\naws_secret_access_key = secret\naws_session_token = x\n")


def refuse_old(fault: Fault) -> object:
    def rule(method: str, headers: Mapping[str, str]) -> Fault | None:
        return fault if "Credential=OLD/" in headers["Authorization"] else None

    return rule


@pytest.mark.parametrize("fault", [EXPIRED, status_of(403, "InvalidAccessKeyId"), status_of(403, "InvalidToken")])
def test_credentials_that_are_renewed_in_time_are_taken_up(renewable: tuple[Proxy, Path], fault: Fault) -> None:
    proxy, file = renewable
    store = patient(renewal_s=0.1, longest_pause_s=0.2)
    store.put("a", DATA)
    proxy.rule = refuse_old(fault)  # type: ignore[assignment]
    renewal = threading.Timer(0.7, write_key, (file, "NEW"))
    renewal.start()
    with ThreadPoolExecutor(4) as pool:
        assert [*pool.map(lambda _: store.get("a"), range(4))] == [DATA] * 4
    renewal.join()
    assert proxy.num_spoilt >= 4
    assert store.exists("a")


def test_a_refusal_without_words_is_no_end_if_there_are_new_credentials(renewable: tuple[Proxy, Path]) -> None:
    proxy, file = renewable
    store = patient(renewal_s=0.0)
    store.put("a", DATA)
    proxy.rule = refuse_old(EXPIRED)  # type: ignore[assignment]
    with pytest.raises(StoreError, match=r"/a: .* answers 400"):
        store.exists("a")
    write_key(file, "NEW")
    assert store.exists("a")


def test_credentials_that_nobody_renews_are_told(renewable: tuple[Proxy, Path]) -> None:
    proxy, file = renewable
    store = patient(renewal_s=0.1, budget_s=0.8, longest_pause_s=0.2)
    store.put("a", DATA)
    proxy.rule = refuse_old(EXPIRED)  # type: ignore[assignment]
    file.write_text("[default\n")  # Half written: not what is to be told.
    with pytest.raises(
        StoreError,
        match=rf"^{URI}/a: {proxy.url} says ExpiredToken, given up after \d+ requests in \d+ s, .*; renew the cred",
    ):
        store.get("a")


def test_credentials_that_never_were_good_are_told_at_once(renewable: tuple[Proxy, Path]) -> None:
    proxy, _ = renewable
    proxy.rule = refuse_old(EXPIRED)  # type: ignore[assignment]
    with pytest.raises(StoreError, match=r"says ExpiredToken; renew the credentials"):
        patient().get("a")
    assert proxy.num_spoilt == 1


@pytest.mark.parametrize(
    ("ahead_s", "words"), [(-1000, r"is (999|100\d) s ahead of"), (1000, r"is (99\d|1000) s behind")]
)
def test_a_clock_that_differs_is_told_with_how_much(proxy: Proxy, ahead_s: int, words: str) -> None:
    date = {"Date": formatdate(time.time() + ahead_s, usegmt=True)}
    proxy.spoil("GET", status_of(403, "RequestTimeTooSkewed", headers=date))
    with pytest.raises(StoreError, match=rf"^{URI}/a: {proxy.url} refuses .*, whose clock {words} .*timedatectl"):
        open_store(URI).get("a")


def test_a_clock_that_differs_from_one_unknown_is_told(proxy: Proxy) -> None:
    proxy.spoil("GET", status_of(403, "RequestTimeTooSkewed"))
    with pytest.raises(StoreError, match="whose clock differs from the store's"):
        open_store(URI).get("a")

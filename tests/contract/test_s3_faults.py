"""What the S3 store makes of broken answers, of servers that are not there, and of credentials that are none."""

from __future__ import annotations

import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults import Proxy, answer_lost, body_cut, proxied, status_of
from roadbed.errors import ConflictError, StoreError
from roadbed.runs import Pointer, Run
from roadbed.runtime import local
from roadbed.storage import Store, open_store

pytestmark = pytest.mark.s3

NO_SERVICE = status_of(503, "SlowDown")
BUSY = status_of(409, "ConditionalRequestConflict")


@pytest.fixture
def proxy(s3_server: local.LocalState, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    assert s3_server.store is not None
    with proxied(s3_server.store.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield proxy


@pytest.fixture
def store(proxy: Proxy) -> Store:
    return open_store(f"s3://roadbed/faults/{uuid.uuid4().hex}")


def test_a_body_that_breaks_off_is_read_again(proxy: Proxy, store: Store) -> None:
    data = bytes(range(256)) * 1000
    store.put("a", data)
    proxy.spoil("GET", body_cut, times=2)
    assert store.get("a") == data
    proxy.spoil("GET", body_cut)
    assert store.get_range("a", 256, 512) == data[:512]
    assert proxy.num_spoilt == 3


def test_a_body_that_always_breaks_off_is_an_error(proxy: Proxy, store: Store) -> None:
    store.put("a", bytes(1000))
    proxy.spoil("GET", body_cut, times=100)
    with pytest.raises(StoreError, match=rf"^{store.uri}/a: the answer of {proxy.url} broke off"):
        store.get("a")


def test_a_download_that_breaks_off_is_read_again(proxy: Proxy, store: Store, tmp_path: Path) -> None:
    data = bytes(range(256)) * 1000
    store.put("a", data)
    proxy.spoil("GET", body_cut, times=2)
    store.download("a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == data


@pytest.mark.parametrize("fault", [NO_SERVICE, status_of(500, "InternalError"), answer_lost])
def test_passing_trouble_is_sat_out(proxy: Proxy, store: Store, fault: object) -> None:
    store.put("a", b"x")
    for method, use in (("PUT", lambda: store.put("a", b"x")), ("GET", lambda: store.get("a"))):
        proxy.spoil(method, fault, times=2)  # type: ignore[arg-type]
        use()
    assert proxy.num_spoilt == 4


def test_a_swap_whose_answer_was_lost_knows_its_own_work(proxy: Proxy, store: Store) -> None:
    proxy.spoil("PUT", answer_lost)
    etag = store.put_if("claim", b"mine", etag=None)
    proxy.spoil("PUT", answer_lost)
    assert store.put_if("claim", b"moved", etag=etag) == store.get_with_etag("claim")[1]
    assert proxy.num_spoilt == 2


def test_a_swap_whose_answer_was_lost_and_that_lost_is_lost(proxy: Proxy, store: Store) -> None:
    store.put("claim", b"theirs")
    proxy.spoil("PUT", answer_lost)
    with pytest.raises(ConflictError, match="/claim: exists already"):
        store.put_if("claim", b"mine", etag=None)


def test_the_same_bytes_of_somebody_else_are_no_success(proxy: Proxy, store: Store) -> None:
    store.put("claim", b"same")
    with pytest.raises(ConflictError, match="/claim: exists already"):
        store.put_if("claim", b"same", etag=None)


def test_writes_at_the_same_moment_are_tried_again(proxy: Proxy, store: Store) -> None:
    store.put("a", b"1")
    etag = store.get_with_etag("a")[1]
    proxy.spoil("PUT", BUSY, times=2)
    with pytest.raises(ConflictError, match="was changed in the meantime"):
        # The proxy lets the server write before it says 409, so that the second try finds another etag.
        store.put_if("a", b"2", etag=etag)
    assert store.get("a") == b"2"


def test_a_run_goes_on_when_answers_are_lost(proxy: Proxy, store: Store) -> None:
    run = Run(store, "quick")
    proxy.spoil("PUT", answer_lost, times=3)
    attempt = run.claim(details={})
    assert attempt.number == 1
    proxy.spoil("PUT", answer_lost)
    attempt.beat(1, {})
    attempt.beat(2, {})
    proxy.spoil("PUT", answer_lost)
    attempt.move_pointer(Pointer())
    proxy.spoil("PUT", answer_lost)
    attempt.finish("finished", step=3, progress={})
    assert (status := run.status()) is not None
    assert (status.state, status.step, status.beats) == ("finished", 3, 3)
    assert proxy.num_spoilt == 6


def test_other_answers_are_told_in_full(proxy: Proxy, store: Store) -> None:
    proxy.spoil("GET", status_of(403, "ExpiredToken"))
    with pytest.raises(StoreError, match=rf"^{store.uri}/a: {proxy.url} says ExpiredToken; renew the credentials"):
        store.get("a")
    proxy.spoil("GET", status_of(400, "Odd"))
    with pytest.raises(StoreError, match=rf"^{store.uri}/a: {proxy.url} answers Odd: .*on order.*; try again"):
        store.get("a")


def test_a_server_that_is_not_there_is_told_soon(monkeypatch: pytest.MonkeyPatch, s3_server: object) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    began = time.monotonic()
    with pytest.raises(
        StoreError, match=rf"^s3://roadbed/a/b: {endpoint} does not answer.*AWS_ENDPOINT_URL is its address"
    ):
        open_store("s3://roadbed/a").get("b")
    assert time.monotonic() - began < 10


def test_a_host_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch, s3_server: object) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://no-such-host.invalid:9000")
    with pytest.raises(StoreError, match=r"http://no-such-host.invalid:9000 does not answer"):
        open_store("s3://roadbed").get("b")


def test_an_endpoint_that_is_no_url_is_told(monkeypatch: pytest.MonkeyPatch, s3_server: object) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost:9000")
    with pytest.raises(StoreError, match=r"^s3://roadbed: .*localhost:9000.*AWS_ENDPOINT_URL"):
        open_store("s3://roadbed")


def test_missing_credentials_are_told(s3_server: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StoreError, match=r"^s3://roadbed/a: no credentials for http.*set AWS_ACCESS_KEY_ID"):
        open_store("s3://roadbed").get("a")


def test_a_profile_that_is_not_there_is_told(s3_server: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(StoreError, match=r"^s3://roadbed: .*nobody.*AWS_PROFILE"):
        open_store("s3://roadbed")


def test_a_store_that_restarts_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "local"
    state = local.up(folder, with_ray=False)
    try:
        for name, value in local.environment(state).items():
            monkeypatch.setenv(name, value)
        # A client that keeps no connection open, so that the server gets its port again.
        store = open_store("s3://roadbed/restart")
        store.put("a", b"x")
        local.down(folder)
        restart = threading.Timer(1.0, lambda: local.up(folder, with_ray=False))
        restart.start()
        assert store.get("a") == b"x"
        restart.join()
    finally:
        local.down(folder)

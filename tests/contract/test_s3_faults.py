"""What the S3 store makes of broken answers, of servers that are not there, and of credentials that are none."""

from __future__ import annotations

import hashlib
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fault_proxy import Proxy, proxied
from faults import Fault, answer_lost, body_cut, byte_flipped, length_long, length_short, reset, status_of
from roadbed.errors import ConflictError, StoreError
from roadbed.runs import Pointer, Run
from roadbed.runtime import local
from roadbed.storage import Store, open_store, s3
from roadbed.storage.s3 import S3Store
from roadbed.storage.s3_connection import Connection, Patience

pytestmark = pytest.mark.s3

NO_SERVICE = status_of(503, "SlowDown")
ERROR = status_of(500, "InternalError")
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


@pytest.mark.parametrize(
    "fault", [NO_SERVICE, ERROR, answer_lost, body_cut, reset, length_short, length_long, byte_flipped]
)
def test_bodies_that_come_broken_are_read_again(proxy: Proxy, store: Store, tmp_path: Path, fault: Fault) -> None:
    data = bytes(range(256)) * 1000
    sha256 = hashlib.sha256(data).hexdigest()
    store.put("a", data)
    proxy.spoil("GET", fault)
    assert store.get("a", sha256=sha256) == data
    proxy.spoil("GET", fault)
    assert store.get("a") == data
    proxy.spoil("GET", fault)
    store.download("a", tmp_path / "a", sha256=sha256)
    assert (tmp_path / "a").read_bytes() == data
    assert proxy.num_spoilt == 3
    assert proxy.num_requests("GET", "/a") == 6


@pytest.mark.parametrize("fault", [NO_SERVICE, answer_lost, body_cut, reset, length_short, length_long])
@pytest.mark.parametrize("start", [0, 512, 255_488])
def test_ranges_that_come_broken_are_read_again(proxy: Proxy, store: Store, start: int, fault: Fault) -> None:
    data = bytes(range(256)) * 1000
    store.put("a", data)
    proxy.spoil("GET", fault, times=2)
    assert store.get_range("a", start, 512) == data[start : start + 512]
    assert proxy.num_requests("GET") == 3


def test_large_files_sit_out_the_trouble_of_their_parts(proxy: Proxy, store: Store, tmp_path: Path) -> None:
    data = bytes(range(256)) * 4096 * 40
    sha256 = hashlib.sha256(data).hexdigest()
    (tmp_path / "up").write_bytes(data)
    for method, fault in (("PUT", NO_SERVICE), ("PUT", answer_lost), ("GET", body_cut), ("GET", length_short)):
        proxy.spoil(method, fault)
    store.upload(tmp_path / "up", "a", sha256=sha256)
    # Of the two POST requests of another upload, the second one's answer is lost: the upload is complete all the same.
    proxy.rule = lambda method, _: answer_lost if method == "POST" and proxy.num_requests("POST") == 4 else None
    store.upload(tmp_path / "up", "b")
    store.download("a", tmp_path / "down", sha256=sha256)
    assert store.get("b", sha256=sha256) == data
    assert proxy.num_spoilt == 5


def test_an_upload_that_cannot_be_ended_leaves_no_parts(
    proxy: Proxy, tmp_path: Path, s3_server: local.LocalState
) -> None:
    import boto3

    assert s3_server.store is not None
    store = impatient("s3://roadbed/parts")
    (tmp_path / "up").write_bytes(bytes(20_000_000))
    proxy.spoil("PUT", ERROR, times=1000)
    with pytest.raises(StoreError, match="answers InternalError"):
        store.upload(tmp_path / "up", "a")
    client = boto3.client("s3", endpoint_url=s3_server.store.endpoint)
    assert client.list_multipart_uploads(Bucket="roadbed", Prefix="parts/").get("Uploads", []) == []
    client.close()


def test_trouble_that_does_not_pass_is_told_with_what_was_met(proxy: Proxy, store: Store) -> None:
    store.put("a", bytes(1000))
    hasty = impatient(store.uri)
    for fault, words in (
        (NO_SERVICE, f"{proxy.url} answers SlowDown: .*"),
        (body_cut, f"the answer of {proxy.url} broke off each time .*"),
        (answer_lost, f"{proxy.url} does not answer .*"),
    ):
        proxy.spoil("GET", fault, times=100)
        with pytest.raises(
            StoreError, match=rf"^{store.uri}/a: {words}, given up after \d+ requests in \d+ s, the last met \w+, \w+"
        ):
            hasty.get("a")
        proxy.heal()


@pytest.mark.parametrize("fault", [NO_SERVICE, ERROR, answer_lost, reset])
def test_passing_trouble_is_sat_out(proxy: Proxy, store: Store, fault: Fault) -> None:
    uses: dict[str, Callable[[], object]] = {
        "PUT": lambda: store.put("a", b"x"),
        "GET": lambda: [*store.list(), *store.list_folders()],
        "HEAD": lambda: store.exists("a"),
        "DELETE": lambda: store.delete("a"),
    }
    for method, use in uses.items():
        proxy.spoil(method, fault, times=2)
        use()
    assert proxy.num_spoilt == 8


def test_each_page_of_a_listing_is_a_request_of_its_own(
    proxy: Proxy, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [f"{folder}/{number}" for folder in range(4) for number in range(3)]
    for key in keys:
        store.put(key, b"x")
    monkeypatch.setattr(s3, "_PAGE_KEYS", 2)
    proxy.counts.clear()
    # Were all pages one request, no sending of it would ever end well.
    proxy.rule = lambda method, _: NO_SERVICE if proxy.num_requests("GET") % 2 else None
    assert [info.key for info in store.list()] == keys
    assert proxy.num_requests("GET") == 2 * 6
    assert store.list_folders() == ["0", "1", "2", "3"]


def test_what_is_asked_is_counted(proxy: Proxy, store: Store) -> None:
    store.put("a", bytes(1000))
    proxy.spoil("GET", NO_SERVICE, times=2)
    store.child("b").exists("c")
    store.get("a")
    store.get_range("a", 0, 10)
    assert (store.stats.num_retries, store.stats.bytes_read) == (2, 1010)
    assert store.stats.num_requests == sum(proxy.counts.values())


def test_everything_passes_when_a_share_of_all_requests_fails(proxy: Proxy, store: Store) -> None:
    for method in ("GET", "PUT", "HEAD"):
        proxy.spoil_share(method, 0.3, seed=1)

    def use(number: int) -> bytes:
        store.put(f"{number}", b"%d" % number * 1000)
        assert store.exists(f"{number}")
        return store.get(f"{number}")

    with ThreadPoolExecutor(4) as pool:
        assert [*pool.map(use, range(20))] == [b"%d" % number * 1000 for number in range(20)]
    assert proxy.num_spoilt > 10


def impatient(uri: str) -> S3Store:
    """A store that gives up after a second."""
    connection = Connection(uri, Patience(budget_s=1.2, silence_s=1.0, longest_pause_s=0.2))
    return S3Store(connection, "roadbed", uri.removeprefix("s3://roadbed/"))


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

"""One endpoint: its client, how long a request to it is repeated, and credentials that are renewed while it is used.

botocore sends each request once; everything about repeating it is here, so that bodies that break off, throttling, a
store that restarts and expired credentials share one budget of time. What a request asks is for the store to say.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from roadbed.errors import ConflictError, NotFoundError, RoadbedError, StoreError
from roadbed.storage.s3_body import TooSlowError, read_body
from roadbed.storage.s3_errors import error_code, explain, fault_name, is_expired, may_be_expired, may_pass
from roadbed.storage.stats import StoreStats

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

T = TypeVar("T")


@dataclass(frozen=True)
class Patience:
    """How long a request is repeated, in seconds from its first sending.

    An endpoint that never answered is given up after `first_s` (it is mistyped), one that did after `budget_s` (it
    restarts, or is busy). A connection without a byte for `silence_s` is broken off and the request repeated.
    A body has `budget_s` and, on top, the time that it takes at `slowest_bytes_s` bytes per second.
    """

    first_s: float = 2.0
    budget_s: float = 60.0
    silence_s: float = 30.0
    slowest_bytes_s: float = 32 * 1024
    connect_s: float = 5.0
    first_pause_s: float = 0.1
    longest_pause_s: float = 5.0
    renewal_s: float = 2.0
    """Credentials are looked for anew at most once in so long."""


PATIENCE = Patience()
_POOL_CONNECTIONS = 32
_NUM_TOLD = 5


class Connection:
    """The client of one endpoint, shared by all threads and by all stores opened from one another."""

    def __init__(self, uri: str, patience: Patience = PATIENCE) -> None:
        """By what the environment says at this moment; sends nothing.

        Raises StoreError, about `uri`, for settings that cannot be used.
        """
        from botocore.exceptions import BotoCoreError

        self.patience = patience
        self.stats = StoreStats()
        self.known_buckets: set[str] = set()
        self.has_answered = False
        self.has_served = False
        """Whether these credentials, or earlier ones, were good for something."""
        self._renewing = threading.Lock()
        self._looked_at = time.monotonic()
        try:
            self.client, self._credentials = _new_client(patience)
        except (BotoCoreError, ValueError) as error:
            raise StoreError(f"{uri}: {error}; check AWS_ENDPOINT_URL, AWS_PROFILE and the files in ~/.aws") from error
        self.endpoint: str = self.client.meta.endpoint_url

    def renew(self, used: S3Client) -> bool:
        """Whether there is another client than `used` now: environment and ~/.aws are read anew, now and then."""
        with self._renewing:
            if self.client is not used:
                return True
            if time.monotonic() - self._looked_at < self.patience.renewal_s:
                return False
            self._looked_at = time.monotonic()
            try:
                client, credentials = _new_client(self.patience)
            except Exception:  # A file that is half written: what is to be told is the refusal, not this.
                return False
            if credentials in {None, self._credentials}:
                return False
            self.client, self._credentials = client, credentials
            return True


def _new_client(patience: Patience) -> tuple[S3Client, object]:
    """A client and the frozen credentials that it signs with, None without any."""
    import boto3
    from botocore.config import Config

    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    session = boto3.Session(region_name=region)
    # Before the client, which then signs with these: looked for twice, a file that is just being written gives the
    # client none, and here the new ones.
    credentials: Any = session.get_credentials()
    client = session.client(
        "s3",
        config=Config(
            retries={"mode": "standard", "total_max_attempts": 1},
            connect_timeout=patience.connect_s,
            read_timeout=patience.silence_s,
            max_pool_connections=_POOL_CONNECTIONS,
            # Objects that are read against a sha256 need no second sum; the others ask for it (S3Store.get).
            response_checksum_validation="when_required",
        ),
    )
    return client, credentials and credentials.get_frozen_credentials()


class Request:
    """One request about `uri`, sent until it is answered or the patience ends."""

    def __init__(self, connection: Connection, uri: str, bucket: str) -> None:
        self._connection = connection
        self._uri = uri
        self._bucket = bucket
        self._began = time.monotonic()
        self._num_bytes = 0
        self._faults: deque[str] = deque(maxlen=_NUM_TOLD)
        self.num_sent = 0

    @property
    def was_repeated(self) -> bool:
        """Whether an earlier sending may have done its work unseen."""
        return self.num_sent > 1

    def answer(self, send: Callable[[S3Client], T]) -> T:
        """What `send` gives. Raises one of our own errors in place of botocore's."""
        connection = self._connection
        while True:
            client = connection.client
            connection.stats.count(requests=1, retries=int(self.num_sent > 0))
            self.num_sent += 1
            sent_at = time.monotonic()
            try:
                answer = send(client)
            except RoadbedError:
                raise
            except Exception as error:
                connection.has_answered |= error_code(error) is not None
                if not self._wait(error, client):
                    explained = self._explain(error)
                    if not isinstance(explained, NotFoundError | ConflictError):
                        connection.stats.count(failures=1)
                    raise explained from error
            else:
                connection.has_answered = connection.has_served = True
                connection.stats.took(time.monotonic() - sent_at)
                return answer

    def body(self, send: Callable[[S3Client], Any]) -> tuple[bytes, Any]:
        """The whole body of the GetObject answer that `send` gives, and that answer; broken ones are read anew."""

        def read(client: S3Client) -> tuple[bytes, Any]:
            answer = send(client)
            self._connection.has_answered = True
            self._num_bytes = answer["ContentLength"]
            try:
                return read_body(answer, ends_at=time.monotonic() + self._left_s()), answer
            except TooSlowError as error:
                self._connection.stats.count(failures=1)
                raise self._too_slow() from error

        data, answer = self.answer(read)
        self._connection.stats.count(bytes_read=len(data))
        return data, answer

    def _wait(self, error: Exception, client: S3Client) -> bool:
        """Whether to send again; sleeps as long as it should be waited before."""
        connection = self._connection
        self._faults.append(fault_name(error))
        if connection.has_served and (is_expired(error) or may_be_expired(error)):
            if connection.renew(client):
                return self._left_s() > 0
            if not is_expired(error):
                return False
        elif not may_pass(error):
            return False
        patience = connection.patience
        pause_s = min(patience.first_pause_s * 2 ** min(self.num_sent - 1, 16), patience.longest_pause_s)
        pause_s *= random.uniform(0.5, 1.0)
        if pause_s > self._left_s():
            return False
        time.sleep(pause_s)
        return True

    def _left_s(self) -> float:
        patience = self._connection.patience
        budget_s = patience.budget_s if self._connection.has_answered else patience.first_s
        return self._began + budget_s + self._num_bytes / patience.slowest_bytes_s - time.monotonic()

    def _too_slow(self) -> StoreError:
        return StoreError(
            f"{self._uri}: {self._connection.endpoint} did not bring {self._num_bytes} bytes in time"
            f"{self._history()}; the link is too slow or the store overloaded: look into its log, and try again"
        )

    def _explain(self, error: Exception) -> RoadbedError:
        history = self._history() if self.was_repeated else ""
        return explain(error, self._uri, self._bucket, self._connection.endpoint, history=history)

    def _history(self) -> str:
        """How often it was sent, for how long, and what the last sendings met."""
        times = f"{self.num_sent} request{'s' if self.num_sent > 1 else ''}"
        met = f", the last met {', '.join(self._faults)}" if self._faults else ""
        return f", given up after {times} in {time.monotonic() - self._began:.0f} s{met}"

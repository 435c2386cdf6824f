"""s3://: any S3 by boto3, with AWS's own environment variables and credentials chain.

Requests are retried by botocore (standard mode: backoff with jitter); reading a body that breaks off is retried here,
since botocore's retries end at the headers. An endpoint that never answered is given up soon, one that did answer is
waited for.
"""

# ruff: noqa: D102  (Store documents the methods)

from __future__ import annotations

import builtins
import os
import random
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from roadbed.errors import ConflictError, DamagedError, NotFoundError, RoadbedError, StoreError
from roadbed.storage.checks import check_bytes, check_length, check_sum, file_sha256, file_trouble, lost_swap
from roadbed.storage.s3_errors import (
    ConcurrentWriteError,
    RangeOutsideError,
    broken_body,
    error_code,
    explain,
    is_broken_body,
    was_sent_again,
)
from roadbed.storage.store import ObjectInfo, Store, check_key, check_prefix, open_store

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_FIRST_ATTEMPTS = 3  # A second: the endpoint is mistyped.
_LATER_ATTEMPTS = 12  # About half a minute: the store restarts.
_BODY_ATTEMPTS = 5
_CONFLICT_ATTEMPTS = 5
_PART_BYTES = 16 * 1024 * 1024
_PART_THREADS = 4
_CONNECT_TIMEOUT_S = 5
_READ_TIMEOUT_S = 60
_POOL_CONNECTIONS = 32

T = TypeVar("T")


@dataclass
class Connection:
    """Two clients of one endpoint: an impatient one until the first answer, a patient one from then on."""

    impatient: S3Client
    patient: S3Client
    endpoint: str
    has_answered: bool = False
    known_buckets: set[str] = field(default_factory=set)

    @property
    def client(self) -> S3Client:
        """The client to use now."""
        return self.patient if self.has_answered else self.impatient


def connect(uri: str) -> Connection:
    """Clients by what the environment says at this moment. Sends nothing.

    Raises StoreError, about `uri`, for settings that cannot be used.
    """
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")

    def client(num_attempts: int) -> S3Client:
        return boto3.Session(region_name=region).client(
            "s3",
            config=Config(
                retries={"mode": "standard", "total_max_attempts": num_attempts},
                connect_timeout=_CONNECT_TIMEOUT_S,
                read_timeout=_READ_TIMEOUT_S,
                max_pool_connections=_POOL_CONNECTIONS,
            ),
        )

    try:
        impatient, patient = client(_FIRST_ATTEMPTS), client(_LATER_ATTEMPTS)
    except (BotoCoreError, ValueError) as error:
        raise StoreError(f"{uri}: {error}; check AWS_ENDPOINT_URL, AWS_PROFILE and the files in ~/.aws") from error
    return Connection(impatient, patient, endpoint=impatient.meta.endpoint_url)


class S3Store:
    """See Store. Children share their parent's connections."""

    def __init__(self, connection: Connection, bucket: str, prefix: str) -> None:
        self._connection = connection
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self.uri = f"s3://{bucket}/{prefix}".rstrip("/")

    def __repr__(self) -> str:
        return f"S3Store({self.uri!r}, endpoint={self._connection.endpoint!r})"

    def __reduce__(self) -> tuple[Callable[[str], Store], tuple[str]]:
        return open_store, (self.uri,)

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        data, _ = self.get_with_etag(key)
        check_bytes(f"{self.uri}/{key}", data, sha256)
        return data

    def get_with_etag(self, key: str) -> tuple[bytes, str]:
        return self._read(key)

    def get_range(self, key: str, start: int, num_bytes: int) -> bytes:
        if num_bytes == 0:
            return b""
        try:
            data, _ = self._read(key, Range=f"bytes={start}-{start + num_bytes - 1}")
        except RangeOutsideError:
            data = b""
        check_length(f"{self.uri}/{key}", data, start, num_bytes)
        return data

    def put(self, key: str, data: bytes) -> str:
        name = self._name(key)
        answer = self._ask(key, lambda client: client.put_object(Bucket=self._bucket, Key=name, Body=data))
        return answer["ETag"]

    def put_if(self, key: str, data: bytes, *, etag: str | None) -> str:
        name = self._name(key)
        condition: Any = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}

        def send(client: S3Client) -> str:
            return client.put_object(Bucket=self._bucket, Key=name, Body=data, **condition)["ETag"]

        for attempt in range(_CONFLICT_ATTEMPTS):
            try:
                return self._ask(key, send)
            except (ConflictError, NotFoundError) as error:
                if isinstance(error, NotFoundError) and etag is None:
                    raise
                found = self._found(key)
                # The answer to a first sending may have been lost: then the refusal is about our own work.
                if found is not None and found[0] == data and was_sent_again(error.__cause__):
                    return found[1]
                if isinstance(error, ConcurrentWriteError) and attempt + 1 < _CONFLICT_ATTEMPTS:
                    _pause(attempt)
                    continue
                raise lost_swap(f"{self.uri}/{key}", is_there=found is not None, wants_new=etag is None) from None
        raise AssertionError("the last attempt returned or raised")

    def upload(self, path: Path, key: str, *, sha256: str | None = None) -> None:
        from boto3.s3.transfer import TransferConfig

        name = self._name(key)
        parts = TransferConfig(
            multipart_threshold=_PART_BYTES, multipart_chunksize=_PART_BYTES, max_concurrency=_PART_THREADS
        )

        def send(client: S3Client) -> tuple[int, int]:
            if sha256 is not None:
                check_sum(str(path), file_sha256(path), sha256)
            with path.open("rb") as file:
                client.upload_fileobj(file, self._bucket, name, Config=parts)
            return client.head_object(Bucket=self._bucket, Key=name)["ContentLength"], path.stat().st_size

        sent, expected = self._ask(key, send)
        if sent != expected:
            raise DamagedError(f"{self.uri}/{key}: {sent} bytes arrived of {expected}; upload {path} again")

    def download(self, key: str, path: Path, *, sha256: str | None = None) -> None:
        from boto3.s3.transfer import TransferConfig

        temporary = path.parent / f".{path.name[:64]}-{secrets.token_hex(8)}.part"
        name = self._name(key)
        parts = TransferConfig(
            multipart_threshold=_PART_BYTES, multipart_chunksize=_PART_BYTES, max_concurrency=_PART_THREADS
        )

        def fetch(client: S3Client) -> None:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                client.download_fileobj(self._bucket, name, file, Config=parts)

        try:
            self._ask(key, fetch)
            if sha256 is not None:
                check_sum(f"{self.uri}/{key}", file_sha256(temporary), sha256)
            temporary.replace(path)
        except OSError as error:
            raise file_trouble(f"{self.uri}/{key}", error) from error
        finally:
            with suppress(OSError):
                temporary.unlink()

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        found = [
            ObjectInfo(
                key=entry["Key"].removeprefix(self._prefix),
                num_bytes=entry["Size"],
                etag=entry["ETag"],
                modified_at=entry["LastModified"].timestamp(),
            )
            for page in self._pages(self._prefix + prefix.lstrip("/"), delimiter="")
            for entry in page.get("Contents", [])
            if not entry["Key"].endswith("/")
        ]
        return iter(sorted(found, key=lambda info: info.key))

    def list_folders(self, prefix: str = "") -> builtins.list[str]:
        folder = check_prefix(prefix)
        top = self._prefix + (f"{folder}/" if folder else "")
        pages = self._pages(top, delimiter="/")
        return sorted(
            entry["Prefix"].removeprefix(top).rstrip("/") for page in pages for entry in page.get("CommonPrefixes", [])
        )

    def delete(self, key: str) -> None:
        name = self._name(key)
        self._ask(key, lambda client: client.delete_object(Bucket=self._bucket, Key=name))

    def exists(self, key: str) -> bool:
        name = self._name(key)
        try:
            self._ask(key, lambda client: client.head_object(Bucket=self._bucket, Key=name))
        except NotFoundError:
            self._check_bucket()
            return False
        return True

    def child(self, prefix: str) -> Store:
        return S3Store(self._connection, self._bucket, check_prefix(self._prefix + check_prefix(prefix)))

    def _name(self, key: str) -> str:
        return self._prefix + check_key(key)

    def _read(self, key: str, **options: Any) -> tuple[bytes, str]:
        """Body and etag; begins anew when a body breaks off."""
        name = self._name(key)
        for attempt in range(_BODY_ATTEMPTS):
            answer = self._ask(key, lambda client: client.get_object(Bucket=self._bucket, Key=name, **options))
            try:
                return answer["Body"].read(), answer["ETag"]
            except Exception as error:
                if not is_broken_body(error):
                    raise
                if attempt + 1 == _BODY_ATTEMPTS:
                    raise broken_body(error, f"{self.uri}/{key}", self._connection.endpoint) from error
                _pause(attempt)
        raise AssertionError("the last attempt returned or raised")

    def _found(self, key: str) -> tuple[bytes, str] | None:
        try:
            return self._read(key)
        except NotFoundError:
            self._check_bucket()
            return None

    def _pages(self, prefix: str, *, delimiter: str) -> builtins.list[Any]:
        def fetch(client: S3Client) -> builtins.list[Any]:
            pages = client.get_paginator("list_objects_v2")
            return [*pages.paginate(Bucket=self._bucket, Prefix=prefix, Delimiter=delimiter)]

        return self._ask("", fetch)

    def _check_bucket(self) -> None:
        """Raises NotFoundError if it is the bucket that is missing: HEAD answers do not tell."""
        if self._bucket not in self._connection.known_buckets:
            self._ask("", lambda client: client.list_objects_v2(Bucket=self._bucket, MaxKeys=1))
            self._connection.known_buckets.add(self._bucket)

    def _ask(self, key: str, send: Callable[[S3Client], T]) -> T:
        """The answer of `send`, or one of our own errors in place of botocore's."""
        try:
            answer = send(self._connection.client)
        except RoadbedError:
            raise
        except Exception as error:
            if error_code(error) is not None:
                self._connection.has_answered = True
            raise explain(error, f"{self.uri}/{key}".rstrip("/"), self._bucket, self._connection.endpoint) from error
        self._connection.has_answered = True
        return answer


def _pause(attempt: int) -> None:
    time.sleep(random.uniform(0.5, 1.0) * 0.2 * 2**attempt)

"""s3://: any S3 by boto3, with AWS's own environment variables and credentials chain.

What is asked of S3, and what its answers mean for a Store. How long a request is repeated is for s3_connection, large
files in parts are for s3_transfer, the words of errors for s3_errors.
"""

# ruff: noqa: D102  (Store documents the methods)

from __future__ import annotations

import builtins
import random
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from roadbed.errors import ConflictError, DamagedError, NotFoundError
from roadbed.storage.checks import check_bytes, check_length, check_sum, file_sha256, file_trouble, lost_swap
from roadbed.storage.s3_body import WrongLengthError, is_cut_short
from roadbed.storage.s3_connection import Connection, Request
from roadbed.storage.s3_errors import ConcurrentWriteError, RangeOutsideError
from roadbed.storage.s3_transfer import PART_BYTES, abort, download_parts, list_unfinished, upload_parts
from roadbed.storage.stats import StoreStats
from roadbed.storage.store import ObjectInfo, Store, UnfinishedUpload, check_key, check_prefix, open_store

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CopySourceTypeDef

_CONFLICT_ATTEMPTS = 5
_PAGE_KEYS = 1000  # The most that S3 gives at once.
_MOST_COPIED_BYTES = 5 * 1024**3  # CopyObject (https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html)
_SUM_ATTEMPTS = 2  # Bytes may be flipped on their way; if they are the same again, they lie there like that.

T = TypeVar("T")


class S3Store:
    """See Store. Children share their parent's connections."""

    def __init__(self, connection: Connection, bucket: str, prefix: str) -> None:
        self._connection = connection
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self.uri = f"s3://{bucket}/{prefix}".rstrip("/")

    def __repr__(self) -> str:
        return f"S3Store({self.uri!r}, endpoint={self._connection.endpoint!r})"

    @property
    def stats(self) -> StoreStats:
        return self._connection.stats

    def __reduce__(self) -> tuple[Callable[[str], Store], tuple[str]]:
        return open_store, (self.uri,)

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        if sha256 is None:
            return self.get_with_etag(key)[0]
        for attempt in range(_SUM_ATTEMPTS):
            data, _ = self._read(key)
            try:
                check_bytes(f"{self.uri}/{key}", data, sha256)
            except DamagedError:
                self.stats.count(damaged=1)
                if attempt + 1 == _SUM_ATTEMPTS:
                    raise
            else:
                return data
        raise AssertionError("the last attempt returned or raised")

    def get_with_etag(self, key: str) -> tuple[bytes, str]:
        # No sha256 will be checked, so the store's own sum is, where it keeps one.
        data, answer = self._read(key, ChecksumMode="ENABLED")
        return data, answer["ETag"]

    def get_range(self, key: str, start: int, num_bytes: int) -> bytes:
        if num_bytes == 0:
            return b""
        try:
            data = self._read_range(key, start, num_bytes)
        except RangeOutsideError:
            data = b""
        check_length(f"{self.uri}/{key}", data, start, num_bytes)
        return data

    def put(self, key: str, data: bytes) -> str:
        name = self._name(key)
        answer = self._ask(key, lambda client: client.put_object(Bucket=self._bucket, Key=name, Body=data))
        self.stats.count(bytes_written=len(data))
        return answer["ETag"]

    def put_if(self, key: str, data: bytes, *, etag: str | None) -> str:
        name = self._name(key)
        condition: Any = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}

        def send(client: S3Client) -> str:
            return client.put_object(Bucket=self._bucket, Key=name, Body=data, **condition)["ETag"]

        for attempt in range(_CONFLICT_ATTEMPTS):
            request = self._request(key)
            try:
                written = request.answer(send)
                self.stats.count(bytes_written=len(data))
                return written
            except (ConflictError, NotFoundError) as error:
                if isinstance(error, NotFoundError) and etag is None:
                    raise
                found = self._found(key)
                # The answer to a first sending may have been lost: then the refusal is about our own work.
                if found is not None and found[0] == data and request.was_repeated:
                    return found[1]
                if isinstance(error, ConcurrentWriteError) and attempt + 1 < _CONFLICT_ATTEMPTS:
                    time.sleep(random.uniform(0.5, 1.0) * 0.2 * 2**attempt)
                    continue
                raise lost_swap(f"{self.uri}/{key}", is_there=found is not None, wants_new=etag is None) from None
        raise AssertionError("the last attempt returned or raised")

    def upload(self, path: Path, key: str, *, sha256: str | None = None) -> None:
        name = self._name(key)
        try:
            if sha256 is not None:
                check_sum(str(path), file_sha256(path), sha256)
            expected = path.stat().st_size
            if expected <= PART_BYTES:
                self._ask(key, partial(self._put_file, path, name))
            else:
                upload_parts(lambda: self._request(key), self._bucket, name, path)
        except OSError as error:
            raise file_trouble(f"{self.uri}/{key}", error) from error
        sent = self._ask(key, lambda client: client.head_object(Bucket=self._bucket, Key=name))["ContentLength"]
        if sent != expected:
            raise DamagedError(f"{self.uri}/{key}: {sent} bytes arrived of {expected}; upload {path} again")
        self.stats.count(bytes_written=expected)

    def download(self, key: str, path: Path, *, sha256: str | None = None) -> None:
        name = self._name(key)
        found = self._ask(key, lambda client: client.head_object(Bucket=self._bucket, Key=name))
        temporary = path.parent / f".{path.name[:64]}-{secrets.token_hex(8)}.part"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if found["ContentLength"] <= PART_BYTES:
                temporary.write_bytes(self.get(key, sha256=sha256))
            else:
                read = partial(self._read_range, key, IfMatch=found["ETag"])
                download_parts(read, temporary, found["ContentLength"])
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

    def copy_from(self, other: Store, key: str) -> bool:
        if not isinstance(other, S3Store) or other._connection.endpoint != self._connection.endpoint:
            return False
        name, source = self._name(key), other._name(key)
        found = other._ask(key, lambda client: client.head_object(Bucket=other._bucket, Key=source))
        if found["ContentLength"] > _MOST_COPIED_BYTES:
            return False
        self._check_bucket()  # SeaweedFS answers InternalError to a copy into a bucket that is not there.
        place: CopySourceTypeDef = {"Bucket": other._bucket, "Key": source}
        self._ask(key, lambda client: client.copy_object(Bucket=self._bucket, Key=name, CopySource=place))
        return True

    def child(self, prefix: str) -> Store:
        return S3Store(self._connection, self._bucket, check_prefix(self._prefix + check_prefix(prefix)))

    def unfinished_uploads(self) -> builtins.list[UnfinishedUpload]:
        found = list_unfinished(lambda: self._request(""), self._bucket, self._prefix)
        found = [replace(upload, key=upload.key.removeprefix(self._prefix)) for upload in found]
        return sorted(found, key=lambda upload: (upload.key, upload.name))

    def discard_upload(self, upload: UnfinishedUpload) -> None:
        abort(self._request(upload.key), self._bucket, replace(upload, key=self._name(upload.key)))

    def _name(self, key: str) -> str:
        return self._prefix + check_key(key)

    def _put_file(self, path: Path, name: str, client: S3Client) -> None:
        with path.open("rb") as file:
            client.put_object(Bucket=self._bucket, Key=name, Body=file)

    def _read(self, key: str, **options: Any) -> tuple[bytes, Any]:
        """The whole body, and the answer that it came with."""
        name = self._name(key)
        return self._request(key).body(lambda client: client.get_object(Bucket=self._bucket, Key=name, **options))

    def _read_range(self, key: str, start: int, num_bytes: int, **options: Any) -> bytes:
        """Bytes from `start`, fewer than asked for only where the object ends. Raises RangeOutsideError beyond it."""
        name = self._name(key)
        asked: Any = {"Range": f"bytes={start}-{start + num_bytes - 1}", **options}

        def send(client: S3Client) -> Any:
            answer = client.get_object(Bucket=self._bucket, Key=name, **asked)
            if answer["ContentLength"] != num_bytes and not is_cut_short(answer):
                answer["Body"].close()
                raise WrongLengthError(f"{answer['ContentLength']} bytes, asked for {num_bytes}")
            return answer

        return self._request(key).body(send)[0]

    def _found(self, key: str) -> tuple[bytes, str] | None:
        try:
            return self.get_with_etag(key)
        except NotFoundError:
            self._check_bucket()
            return None

    def _pages(self, prefix: str, *, delimiter: str) -> Iterator[Any]:
        """The pages of a listing, each a request of its own: a fault costs one page, not all that came before."""
        asked: Any = {"Bucket": self._bucket, "Prefix": prefix, "Delimiter": delimiter, "MaxKeys": _PAGE_KEYS}
        is_last = False
        while not is_last:
            page: Any = self._ask("", lambda client: client.list_objects_v2(**asked))
            yield page
            is_last = not page["IsTruncated"]
            asked["ContinuationToken"] = page.get("NextContinuationToken")

    def _check_bucket(self) -> None:
        """Raises NotFoundError if it is the bucket that is missing: HEAD answers do not tell."""
        if self._bucket not in self._connection.known_buckets:
            self._ask("", lambda client: client.list_objects_v2(Bucket=self._bucket, MaxKeys=1))
            self._connection.known_buckets.add(self._bucket)

    def _ask(self, key: str, send: Callable[[S3Client], T]) -> T:
        """The answer of `send`, which is called again as long as trouble may pass, or one of our own errors."""
        return self._request(key).answer(send)

    def _request(self, key: str) -> Request:
        return Request(self._connection, f"{self.uri}/{key}".rstrip("/"), self._bucket)

"""Large files to and from S3 in parts, each a request of its own that is repeated by itself."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from roadbed.errors import RoadbedError, StoreError
from roadbed.storage.s3_connection import Request
from roadbed.storage.s3_errors import error_code
from roadbed.storage.store import UnfinishedUpload

PART_BYTES = 16 * 1024 * 1024
_UPLOADS = {"NextKeyMarker": "KeyMarker", "NextUploadIdMarker": "UploadIdMarker"}
_PARTS = {"NextPartNumberMarker": "PartNumberMarker"}
_PART_THREADS = 4  # Each holds one part in memory.
_MAX_PARTS = 10_000  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html


def upload_parts(request: Callable[[], Request], bucket: str, name: str, path: Path) -> None:
    """A multipart upload of a file of more than one part, ended without remains if it fails."""
    num_bytes = path.stat().st_size
    part_bytes = max(PART_BYTES, -(-num_bytes // _MAX_PARTS))
    target: Any = {"Bucket": bucket, "Key": name}
    target["UploadId"] = request().answer(lambda client: client.create_multipart_upload(**target))["UploadId"]

    def send(part: int) -> Any:
        data = _read_part(path, part * part_bytes, part_bytes)
        # As a file: the time of a socket is then counted for each block that is sent, not for the whole part.
        answer = request().answer(
            lambda client: client.upload_part(**target, PartNumber=part + 1, Body=io.BytesIO(data))
        )
        return {"PartNumber": part + 1, "ETag": answer["ETag"]}

    try:
        with ThreadPoolExecutor(_PART_THREADS) as pool:
            parts = [*pool.map(send, range(-(-num_bytes // part_bytes)))]
        _complete(request(), target, parts)
    except BaseException:
        with suppress(RoadbedError):
            request().answer(lambda client: client.abort_multipart_upload(**target))
        raise


def download_parts(read: Callable[[int, int], bytes], path: Path, num_bytes: int) -> None:
    """A new file of `num_bytes`, read by `read(start, num_bytes)` several parts at a time."""
    with path.open("wb") as file, ThreadPoolExecutor(_PART_THREADS) as pool:

        def fetch(start: int) -> None:
            data = read(start, min(PART_BYTES, num_bytes - start))
            os.pwrite(file.fileno(), data, start)

        for _ in pool.map(fetch, range(0, num_bytes, PART_BYTES)):
            pass


def list_unfinished(request: Callable[[], Request], bucket: str, prefix: str) -> list[UnfinishedUpload]:
    """Multipart uploads to names with this prefix that were neither completed nor aborted; keys are whole names."""
    asked: Any = {"Bucket": bucket, "Prefix": prefix}
    found = []
    for page in _pages(
        lambda: request().answer(lambda client: client.list_multipart_uploads(**asked)), asked, _UPLOADS
    ):
        for entry in page.get("Uploads", []):
            num_bytes, touched_at = _parts_of(request, bucket, entry)
            found.append(UnfinishedUpload(entry["Key"], entry["UploadId"], num_bytes, touched_at))
    return found


def abort(request: Request, bucket: str, upload: UnfinishedUpload) -> None:
    """End an upload whose key is a whole name; its parts are deleted."""
    target: Any = {"Bucket": bucket, "Key": upload.key, "UploadId": upload.name}
    try:
        request.answer(lambda client: client.abort_multipart_upload(**target))
    except StoreError as error:
        if error_code(error.__cause__) != "NoSuchUpload":
            raise


def _parts_of(request: Callable[[], Request], bucket: str, upload: Any) -> tuple[int, float]:
    """How many bytes of an upload have come, and when the last of them did, or when it was begun."""
    asked: Any = {"Bucket": bucket, "Key": upload["Key"], "UploadId": upload["UploadId"]}
    num_bytes, touched_at = 0, upload["Initiated"].timestamp()
    try:
        for page in _pages(lambda: request().answer(lambda client: client.list_parts(**asked)), asked, _PARTS):
            for part in page.get("Parts", []):
                num_bytes += part["Size"]
                touched_at = max(touched_at, part["LastModified"].timestamp())
    except StoreError as error:
        if error_code(error.__cause__) != "NoSuchUpload":  # It has just ended.
            raise
    return num_bytes, touched_at


def _pages(ask: Callable[[], Any], asked: Any, markers: dict[str, str]) -> Iterator[Any]:
    """The pages of a listing; `markers` says which field of an answer goes into which of the next question."""
    is_last = False
    while not is_last:
        page = ask()
        yield page
        is_last = not page.get("IsTruncated")
        asked |= {field: page.get(told) for told, field in markers.items()}


def _read_part(path: Path, start: int, num_bytes: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(num_bytes)


def _complete(request: Request, target: Any, parts: list[Any]) -> None:
    try:
        request.answer(lambda client: client.complete_multipart_upload(**target, MultipartUpload={"Parts": parts}))
    except StoreError as error:
        # The answer to a first sending was lost: the upload is no more because it is complete.
        if not (request.was_repeated and error_code(error.__cause__) == "NoSuchUpload"):
            raise

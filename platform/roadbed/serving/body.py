"""A request's body, up to a size and within a time, and the picture in it.

Ray Serve and uvicorn bound neither: a body of any size is taken, and one that comes byte by byte is waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

from python_multipart import MultipartParser
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import parse_options_header

from roadbed.serving.refused import RefusedError
from roadbed.spec.serve import LimitsSpec

MULTIPART = "multipart/form-data"
PICTURE_FIELD = "image"


async def read_body(stream: AsyncIterator[bytes], headers: Mapping[str, str], limits: LimitsSpec) -> bytes:
    """The whole body, or RefusedError: 413 as soon as it is known to be too large, 408 if it does not come in time."""
    most = round(limits.body_mb * 1e6)
    announced = headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > most:
        raise _too_large(limits)
    parts: list[bytes] = []
    num_bytes = 0
    try:
        async with asyncio.timeout(limits.body_timeout_s):
            async for part in stream:
                num_bytes += len(part)
                if num_bytes > most:
                    raise _too_large(limits)
                parts.append(part)
    except TimeoutError:
        raise RefusedError(
            408,
            "body_timeout",
            f"the body did not come within {limits.body_timeout_s:g} s ({num_bytes} bytes of it did)",
            headers={"Connection": "close"},
        ) from None
    return b"".join(parts)


def picture_of(body: bytes, content_type: str) -> bytes:
    """The bytes of the picture: the body itself, or the part `image` (else the first file) of a form.

    The type application/x-www-form-urlencoded is passed over: curl says it of any bytes.

    Raises RefusedError 400 for a form without one, 415 for what says that it is something else.
    """
    kind, options = parse_options_header(content_type)
    kind_text = kind.decode("latin-1").lower()
    if kind_text == MULTIPART:
        return _part_of(body, options.get(b"boundary", b""))
    if kind_text.startswith(("text/", "application/json", "video/", "audio/")):
        raise RefusedError(
            415, "not_an_image", f"the body is {kind_text}; send a picture's bytes as they are, or a form ({MULTIPART})"
        )
    if not body:
        raise RefusedError(400, "empty_body", "the body is empty; send a picture's bytes, or a form with it")
    return body


def _part_of(body: bytes, boundary: bytes) -> bytes:
    parts: list[tuple[str, bool, bytearray]] = []
    header, value = bytearray(), bytearray()
    headers: dict[str, bytes] = {}

    def begin_part() -> None:
        headers.clear()

    def end_header() -> None:
        headers[header.decode("latin-1").lower()] = bytes(value)
        header.clear()
        value.clear()

    def end_headers() -> None:
        _, options = parse_options_header(headers.get("content-disposition", b""))
        parts.append((options.get(b"name", b"").decode("latin-1"), b"filename" in options, bytearray()))

    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": begin_part,
                "on_header_field": lambda data, start, end: header.extend(data[start:end]),
                "on_header_value": lambda data, start, end: value.extend(data[start:end]),
                "on_header_end": end_header,
                "on_headers_finished": end_headers,
                "on_part_data": lambda data, start, end: parts[-1][2].extend(data[start:end]),
            },
        )
        parser.write(body)
        parser.finalize()
    except (MultipartParseError, ValueError, IndexError) as error:
        raise RefusedError(400, "bad_form", f"the form cannot be read: {error}") from None
    named = [data for name, _, data in parts if name == PICTURE_FIELD]
    files = [data for _, is_file, data in parts if is_file]
    found = next(iter([*named, *files]), None)
    if not found:
        names = ", ".join(sorted({name for name, _, _ in parts})) or "nothing"
        raise RefusedError(
            400, "no_image", f"the form holds {names}; put the picture's file into the field {PICTURE_FIELD}"
        )
    return bytes(found)


def _too_large(limits: LimitsSpec) -> RefusedError:
    return RefusedError(
        413,
        "body_too_large",
        f"the body is larger than {limits.body_mb:g} MB; scale the picture down, or save it as JPEG",
        headers={"Connection": "close"},
    )

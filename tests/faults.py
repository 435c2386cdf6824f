"""Faults that the proxy of fault_proxy.py can answer with, instead of the answer that the real S3 server gave."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from random import Random

Handler = BaseHTTPRequestHandler
_STALL_S = 120.0
_LINGER_NOT = struct.pack("ii", 1, 0)
_OF_ITS_OWN = {"content-length", "transfer-encoding", "connection", "date", "server"}


@dataclass(frozen=True)
class Answer:
    """What the server answered, after it did its work."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Fault = Callable[[Handler, Answer], None]
"""Sends something in place of the answer, or nothing."""


def send_head(handler: Handler, answer: Answer, *, length: int | None = None) -> None:
    """Status and headers of the answer; `length` is told in place of the true one."""
    handler.send_response(answer.status)
    for name, value in answer.headers.items():
        if name.lower() not in _OF_ITS_OWN:
            handler.send_header(name, value)
    told = answer.headers.get("Content-Length", len(answer.body)) if length is None else length
    handler.send_header("Content-Length", str(told))
    handler.end_headers()


def answer_lost(handler: Handler, answer: Answer) -> None:
    """The server did its work, and the connection breaks before a byte of the answer."""
    handler.close_connection = True


def body_cut(handler: Handler, answer: Answer) -> None:
    """The answer breaks off in the middle of its body."""
    send_head(handler, answer)
    handler.wfile.write(answer.body[: len(answer.body) // 2])
    handler.close_connection = True


def reset(handler: Handler, answer: Answer) -> None:
    """The connection is reset (RST) in the middle of the body, before all of an answer that has none."""
    if answer.body:
        send_head(handler, answer)
        handler.wfile.write(answer.body[: len(answer.body) // 2])
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    socket.socket(fileno=handler.connection.detach()).close()
    handler.close_connection = True


def length_short(handler: Handler, answer: Answer) -> None:
    """A body that ends early and a Content-Length that agrees with it."""
    half = answer.body[: len(answer.body) // 2]
    send_head(handler, answer, length=len(half))
    handler.wfile.write(half)


def length_long(handler: Handler, answer: Answer) -> None:
    """More bytes than were asked for, and a Content-Length that agrees with them."""
    send_head(handler, answer, length=len(answer.body) + 7)
    handler.wfile.write(answer.body + b"surplus")


def byte_flipped(handler: Handler, answer: Answer) -> None:
    """The right length, and a bit in the middle that is another."""
    body = bytearray(answer.body)
    if body:
        body[len(body) // 2] ^= 1
    send_head(handler, answer)
    handler.wfile.write(body)


def stalled(handler: Handler, answer: Answer) -> None:
    """Half the body, and then silence, with the connection open until the client has gone or the test is over."""
    send_head(handler, answer)
    handler.wfile.write(answer.body[: len(answer.body) // 2])
    handler.connection.settimeout(_STALL_S)
    with suppress(OSError):
        handler.connection.recv(1)
    handler.close_connection = True


def slowly(*, piece_bytes: int, pause_s: float) -> Fault:
    """The right answer, a piece at a time."""

    def fault(handler: Handler, answer: Answer) -> None:
        send_head(handler, answer)
        try:
            for start in range(0, len(answer.body), piece_bytes):
                handler.wfile.write(answer.body[start : start + piece_bytes])
                time.sleep(pause_s)
        except OSError:
            handler.close_connection = True

    return fault


def late(pause_s: float) -> Fault:
    """The right answer, after a while."""

    def fault(handler: Handler, answer: Answer) -> None:
        time.sleep(pause_s)
        try:
            send_head(handler, answer)
            handler.wfile.write(answer.body)
        except OSError:
            handler.close_connection = True

    return fault


def status_of(code: int, name: str, *, headers: Mapping[str, str] | None = None) -> Fault:
    """An error answer of the server's own making."""
    text = f"<Error><Code>{name}</Code><Message>on order</Message></Error>".encode()

    def fault(handler: Handler, answer: Answer) -> None:
        handler.send_response_only(code)
        for key, value in {"Content-Type": "application/xml", **(headers or {})}.items():
            handler.send_header(key, value)
        handler.send_header("Content-Length", str(len(text)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(text)

    return fault


PASSING: tuple[Fault, ...] = (
    status_of(503, "SlowDown"),
    status_of(500, "InternalError"),
    answer_lost,
    body_cut,
    reset,
    slowly(piece_bytes=64 * 1024, pause_s=0.005),
)
"""Faults that a store sits out, whatever was asked."""


def any_of(faults: tuple[Fault, ...], rng: Random) -> Fault:
    """One of several, drawn anew for each answer."""
    return lambda handler, answer: rng.choice(faults)(handler, answer)

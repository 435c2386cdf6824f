"""A load generator for one endpoint: plain HTTP/1.1 on asyncio, so that asking costs the cores little.

Closed loop: a number of askers who each ask again as soon as they are answered. Open loop: requests at fixed times,
whatever the answers take; their latency counts from the time at which they were due (Tene, "coordinated omission").
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import numpy as np

MAX_OPEN_CONNECTIONS = 128
_LOST = 0


@dataclass
class Outcome:
    """What a load came to. `statuses` counts answers by status, 0 for those that never came."""

    seconds: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    num_wrong: int = 0

    @property
    def per_s(self) -> float:
        """Good answers a second."""
        return self.statuses[200] / self.seconds if self.seconds else 0.0

    def percentile_ms(self, percent: float) -> float:
        """Of the good answers' latencies; 0 without any."""
        return float(np.percentile(self.latencies_ms, percent)) if self.latencies_ms else 0.0


@dataclass(frozen=True)
class Request:
    """A POST that is sent again and again. `check` says whether a good answer's headers and body are right."""

    url: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    check: Callable[[dict[str, str], bytes], bool] = lambda headers, body: True

    @functools.cached_property
    def encoded(self) -> bytes:
        """The bytes on the wire, put together once."""
        parts = urlsplit(self.url)
        lines = [f"POST {parts.path or '/'} HTTP/1.1", f"Host: {parts.netloc}", f"Content-Length: {len(self.body)}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


async def closed_loop(request: Request, *, askers: int, seconds: float) -> Outcome:
    """Ask for a time. Requests that are on their way at its end are waited for, and count."""
    outcome = Outcome()
    start = time.perf_counter()

    async def ask() -> None:
        connection = Connection(request.url)
        while time.perf_counter() < start + seconds:
            await _ask(connection, request, outcome, time.perf_counter())
        connection.close()

    await asyncio.gather(*(ask() for _ in range(askers)))
    outcome.seconds = time.perf_counter() - start
    return outcome


async def open_loop(request: Request, *, per_s: float, seconds: float) -> Outcome:
    """Ask at a fixed rate for a time. Raises nothing: what is not answered is counted as lost."""
    outcome, idle = Outcome(), [Connection(request.url) for _ in range(MAX_OPEN_CONNECTIONS)]
    waiting = asyncio.Semaphore(MAX_OPEN_CONNECTIONS)
    start = time.perf_counter()

    async def ask(due: float) -> None:
        async with waiting:
            connection = idle.pop()
            await _ask(connection, request, outcome, due)
            idle.append(connection)

    tasks = []
    for number in range(round(per_s * seconds)):
        due = start + number / per_s
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(ask(due)))
    await asyncio.gather(*tasks)
    outcome.seconds = time.perf_counter() - start
    for connection in idle:
        connection.close()
    return outcome


async def _ask(connection: Connection, request: Request, outcome: Outcome, due: float) -> None:
    try:
        status, headers, body = await connection.ask(request.encoded)
    except (OSError, EOFError, ValueError):
        connection.close()
        outcome.statuses[_LOST] += 1
        return
    outcome.statuses[status] += 1
    if status == 200:
        outcome.latencies_ms.append(1e3 * (time.perf_counter() - due))
        outcome.num_wrong += not request.check(headers, body)


class Connection:
    """One connection that is opened when it is needed and kept. Answers have a length or come in chunks."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._place = parts.hostname or "", parts.port or 80
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (names in lower case) and body. Raises OSError, EOFError or ValueError."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._place)
        reader, writer = self._streams
        writer.write(request)
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(head[0].split(" ", 2)[1])
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = await _chunks(reader)
        else:
            body = await reader.readexactly(int(headers.get("content-length", "0")))
        if headers.get("connection", "").lower() == "close":
            self.close()
        return status, headers, body

    def close(self) -> None:
        """Let the connection go; the next request opens another one."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    parts = []
    while size := int((await reader.readline()).strip() or b"0", 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readline()
    return b"".join(parts)

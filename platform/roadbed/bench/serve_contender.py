"""One contender of `roadbed bench serve`, in processes of its own: `python -m roadbed.bench.serve_contender SETTINGS`.

`limit` answers nobody: on `go` it decodes, computes and encodes the picture for a time and says how often. The others
are servers that answer POST / with the mask as PNG, each written as its documentation shows.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response

READY = "ready"
SETTINGS_VARIABLE = "ROADBED_BENCH_SETTINGS"


@dataclass(frozen=True)
class Settings:
    """What a contender computes with. `seconds` are those of a turn of the limit."""

    name: str
    engine: str
    store: str
    reference: str
    picture: str
    num_processes: int
    port: int
    seconds: float


def read_settings(path: str) -> Settings:
    """Those that `write_settings` wrote."""
    return Settings(**json.loads(Path(path).read_text()))


def write_settings(settings: Settings, path: Path) -> None:
    """As JSON."""
    path.write_text(json.dumps(asdict(settings)))


class Work:
    """A picture's bytes to the bytes of its mask, on one thread."""

    def __init__(self, settings: Settings) -> None:
        import torch

        from roadbed.inference.export import open_engine
        from roadbed.inference.predictor import Predictor
        from roadbed.registry import Registry
        from roadbed.storage import open_store

        torch.set_num_threads(1)
        version = Registry(open_store(settings.store)).resolve(settings.reference)
        opened = open_engine(version, settings.engine, threads=1)
        self._predictor = Predictor(opened.engine, opened.labels)
        for _ in range(3):
            self(Path(settings.picture).read_bytes())

    def __call__(self, picture: bytes) -> bytes:
        """Decode, predict, encode."""
        from roadbed.inference.images import read_image
        from roadbed.serving.answers import encode_mask

        image_HW3 = read_image(picture)
        mask_HW = self._predictor.predict(image_HW3)
        return encode_mask(image_HW3, mask_HW, self._predictor.label_space, {})


def fastapi_app() -> Any:
    """The plain FastAPI server, one for each of uvicorn's workers."""
    work = Work(read_settings(os.environ[SETTINGS_VARIABLE]))
    app = FastAPI()

    @app.post("/")
    async def segment(request: Request) -> Response:
        return Response(work(await request.body()), media_type="image/png")

    @app.get("/ready")
    async def ready() -> str:
        return READY

    return app


def _limit(settings: Settings) -> None:
    work, picture = Work(settings), Path(settings.picture).read_bytes()
    print(READY, flush=True)  # noqa: T201  (the protocol)
    for _ in sys.stdin:
        count, start = 0, time.perf_counter()
        while time.perf_counter() < start + settings.seconds:
            work(picture)
            count += 1
        print(json.dumps({"per_s": count / (time.perf_counter() - start)}), flush=True)  # noqa: T201


def _fastapi(settings: Settings, path: str) -> None:
    import uvicorn

    os.environ[SETTINGS_VARIABLE] = path
    uvicorn.run(
        "roadbed.bench.serve_contender:fastapi_app",
        factory=True,
        port=settings.port,
        workers=settings.num_processes,
        log_level="warning",
        access_log=False,
    )


def _litserve(settings: Settings, path: str) -> None:
    import litserve

    from roadbed.bench.serve_litserve import Api

    os.environ[SETTINGS_VARIABLE] = path
    server = litserve.LitServer(
        Api(api_path="/"), accelerator="cpu", workers_per_device=settings.num_processes, healthcheck_path="/ready"
    )
    server.run(host="127.0.0.1", port=settings.port, generate_client_file=False, log_level="warning", access_log=False)


if __name__ == "__main__":
    chosen = read_settings(sys.argv[1])
    if chosen.name == "limit":
        _limit(chosen)
    elif chosen.name == "litserve":
        _litserve(chosen, sys.argv[1])
    else:
        _fastapi(chosen, sys.argv[1])

"""The HTTP contract over a `Service`: routes, request ids, keys, and errors as JSON without a word of the inside."""

from __future__ import annotations

import functools
import hashlib
import hmac
import importlib.resources
import logging
import re
import secrets
from collections.abc import Collection
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from roadbed import __version__
from roadbed.serving.answers import ENCODERS, choose_encoder
from roadbed.serving.body import PICTURE_FIELD, picture_of, read_body
from roadbed.serving.examples import EXAMPLES, example_picture
from roadbed.serving.refused import RefusedError
from roadbed.serving.service import FORMATS, Service
from roadbed.serving.telling import CLIENT_CLOSED, SEGMENT_PATH, Metered

log = logging.getLogger(__name__)

REQUEST_ID = "X-Request-Id"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PAGE_HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'none'",  # the rest stands in the page, where it cannot forbid this
    "X-Content-Type-Options": "nosniff",
}


def make_app(service: Service, *, key_hashes: Collection[str] = (), repeats_ids: bool = True) -> FastAPI:
    """The application. With `key_hashes` (sha256, hex) requests to /v1/ need one of these keys.

    `repeats_ids`: the answer says the id that the request came with; Ray Serve does that itself.
    """
    app = FastAPI(
        title="roadbed",
        version=__version__,
        description="Road-scene segmentation: a picture in, the class of every pixel out.",
        docs_url=None,  # its page would load scripts from elsewhere
        redoc_url=None,
    )
    guard = functools.partial(_check_key, key_hashes=tuple(key_hashes))

    @app.post(SEGMENT_PATH, response_class=Response, responses=_ANSWERS, openapi_extra=_REQUEST_BODY)
    async def segment(request: Request) -> Response:
        """Segment a picture. What comes back is chosen by the Accept header; its size is the picture's own."""
        guard(request)
        service.check_room()  # before the body is read, and again when it is there
        kind, encoder = choose_encoder(request.headers.get("accept", ""))
        body = await read_body(request.stream(), request.headers, service.spec.limits)
        picture = picture_of(body, request.headers.get("content-type", ""))
        answer = await service.segment(picture, encoder)
        timing = ", ".join(f"{stage};dur={ms:.1f}" for stage, ms in answer.stages_ms.items())
        headers = {"X-Model": answer.model, "X-Engine": answer.engine, "Server-Timing": timing, "Vary": "Accept"}
        return Response(answer.body, media_type=kind, headers=headers)

    @app.get("/v1/model")
    async def model(request: Request) -> dict[str, Any]:
        """What answers now, what it was trained on, its classes and scores; and what could not be taken up, and why."""
        guard(request)
        return describe(service)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """200 as long as the process lives."""
        return {"status": "alive"}

    @app.get("/readyz")
    async def readyz() -> dict[str, str]:
        """200 when a model is loaded and warm, 503 before."""
        return {"status": "ready", "model": service.ready().name}

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(_page(), headers=_PAGE_HEADERS)

    @app.get("/examples/{name}", response_class=Response, include_in_schema=False)
    def example(name: str) -> Response:
        if name not in EXAMPLES:
            raise HTTPException(404)
        return Response(example_picture(name), media_type="image/jpeg", headers={"Cache-Control": "max-age=86400"})

    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _failed)
    if service.spec.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(service.spec.cors_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=[REQUEST_ID, "X-Model", "X-Engine", "Server-Timing", "Retry-After"],
        )
    app.add_middleware(RequestIds, repeats_ids=repeats_ids)
    app.add_middleware(Metered, metrics=service.metrics)
    return app


def describe(service: Service) -> dict[str, Any]:
    """The body of /v1/model. `state` is ready or waiting; of a waiting one `message` tells what it waits for."""
    serving, failed = service.follower.serving, service.follower.failed
    limits = service.spec.limits
    document: dict[str, Any] = {
        "state": "waiting" if serving is None else "ready",
        "follows": service.spec.model,
        "failed": None if failed is None else {"model": failed.what, "reason": failed.why, "at": failed.at},
        "limits": {"body_mb": limits.body_mb, "megapixels": limits.megapixels, "formats": list(FORMATS)},
        "examples": [f"examples/{name}" for name in EXAMPLES],
    }
    if serving is None:
        return document | {"message": service.why_not_ready()}
    card = serving.card
    return document | {
        "model": serving.name,
        "uri": serving.version.uri,
        "engine": {"name": serving.predictor.engine.name, "note": serving.predictor.engine.note},
        "engine_reasons": list(serving.reasons),
        "loaded_at": serving.loaded_at,
        "classes": [
            {"id": number, "name": label_class.name, "color": list(label_class.color)}
            for number, label_class in enumerate(serving.predictor.label_space.classes)
        ],
        "scores": card.get("scores"),
        "dataset": card.get("dataset"),
    }


class RequestIds:
    """Gives every request an id, the client's own if it sent a sensible one, and says it in the answer."""

    def __init__(self, app: ASGIApp, *, repeats_ids: bool) -> None:
        self.app = app
        self.repeats_ids = repeats_ids

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        sent = dict(scope["headers"]).get(REQUEST_ID.lower().encode(), b"").decode("latin-1")
        request_id = sent if _REQUEST_ID.fullmatch(sent) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start" and (self.repeats_ids or request_id != sent):
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        await self.app(scope, receive, send_with_id)


def _check_key(request: Request, *, key_hashes: tuple[str, ...]) -> None:
    if not key_hashes:
        return
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    key = token.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")
    found = hashlib.sha256(key.encode()).hexdigest()
    if not any([hmac.compare_digest(found, known.lower()) for known in key_hashes]):  # noqa: C419  (all, for equal time)
        raise RefusedError(
            401,
            "wrong_key" if key else "no_key",
            "this endpoint wants a key: Authorization: Bearer KEY, or X-API-Key: KEY",
            headers={"WWW-Authenticate": "Bearer"},
        )


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    request_id = request.state.request_id
    if error.status >= 500:
        log.info("refused: request_id=%s status=%d code=%s", request_id, error.status, error.code)
    return JSONResponse(error.to_json(request_id), status_code=error.status, headers=error.headers)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = {404: f"there is nothing at {request.url.path}", 405: f"{request.url.path} takes no {request.method}"}
    code = {404: "not_found", 405: "wrong_method"}.get(error.status_code, "bad_request")
    refusal = RefusedError(error.status_code, code, message.get(error.status_code, str(error.detail)))
    headers = dict(error.headers or {})
    return JSONResponse(refusal.to_json(request.state.request_id), status_code=error.status_code, headers=headers)


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=CLIENT_CLOSED)


async def _failed(request: Request, error: Exception) -> Response:
    request_id = getattr(request.state, "request_id", "unknown")
    log.error("failed: request_id=%s path=%s", request_id, request.url.path, exc_info=error)
    refusal = RefusedError(500, "internal", f"the server failed on this request; its log tells why under {request_id}")
    return JSONResponse(refusal.to_json(request_id), status_code=500, headers={REQUEST_ID: request_id})


@functools.cache
def _page() -> str:
    return importlib.resources.files("roadbed.serving").joinpath("page.html").read_text(encoding="utf-8")


def _error(description: str, code: str, message: str) -> dict[str, Any]:
    example = {"error": {"code": code, "message": message, "request_id": "5f0c2d9a41b7e683"}}
    return {"description": description, "content": {"application/json": {"example": example}}}


_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "the mask, in the form that Accept asks for; image/png without one",
        "headers": {
            "X-Model": {
                "description": "the version that answered",
                "schema": {"type": "string", "example": "camvid:3"},
            },
            "Server-Timing": {"description": "milliseconds by stage", "schema": {"type": "string"}},
        },
        "content": {
            "image/png": {"schema": {"type": "string", "format": "binary"}},
            "image/webp": {"schema": {"type": "string", "format": "binary"}},
            "image/jpeg": {"schema": {"type": "string", "format": "binary"}},
            "application/json": {
                "example": {
                    "model": "camvid:3",
                    "engine": "OpenVINO 2026.4.1, bfloat16, 1 thread",
                    "width": 480,
                    "height": 360,
                    "classes": [{"id": 3, "name": "Road", "color": [128, 64, 128], "share": 0.4375}],
                    "runs": {"order": "rows", "ids": [0, 3], "lengths": [97200, 75600]},
                }
            },
        },
    },
    400: _error("no picture, or a damaged one", "damaged_image", "the picture: is damaged or cut short: ..."),
    401: _error("no key, or a wrong one", "no_key", "this endpoint wants a key: ..."),
    406: _error(
        "no such form of answer", "not_acceptable", f"no answer can be text/csv; there are {', '.join(ENCODERS)}"
    ),
    408: _error("the body did not come in time", "body_timeout", "the body did not come within 10 s"),
    413: _error("too many bytes or pixels", "too_many_pixels", "the picture: is 9000x9000, 81.0 million pixels; ..."),
    415: _error("something else than a picture", "not_an_image", "the body is text/plain; ..."),
    429: _error("too many requests wait already", "overloaded", "as many requests wait as may (16); come back in 2 s"),
    503: _error("no version has been promoted yet", "no_model", "no model is served yet, ..."),
}

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_REQUEST_BODY = {
    "requestBody": {
        "required": True,
        "content": {f"image/{kind.lower()}": _BINARY for kind in FORMATS}
        | {
            "application/octet-stream": _BINARY,
            "multipart/form-data": {"schema": {"type": "object", "properties": {PICTURE_FIELD: _BINARY["schema"]}}},
        },
    }
}

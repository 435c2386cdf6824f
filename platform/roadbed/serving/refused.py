"""Why a request is not answered with a mask: a status, a word for programs, and a sentence for people."""

from __future__ import annotations

from typing import Any


class RefusedError(Exception):
    """Raised anywhere on a request's way. `code` never changes its meaning; `message` says what and how much."""

    def __init__(self, status: int, code: str, message: str, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}

    def to_json(self, request_id: str) -> dict[str, Any]:
        """The body of the answer."""
        return {"error": {"code": self.code, "message": self.message, "request_id": request_id}}

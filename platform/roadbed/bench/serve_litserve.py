"""The LitServe contender of `roadbed bench serve`, in a module of its own: its workers import it.

Without postponed annotations: LitServe looks at the type of `request` itself.
"""

import os

import litserve
from fastapi import Request, Response

from roadbed.bench.serve_contender import SETTINGS_VARIABLE, Work, read_settings


class Api(litserve.LitAPI):  # type: ignore[misc]
    """As LitServe's documentation has uploads."""

    def setup(self, device: str) -> None:
        """Once in each worker."""
        self.work = Work(read_settings(os.environ[SETTINGS_VARIABLE]))

    def decode_request(self, request: Request) -> bytes:
        """The uploaded file."""
        data: bytes = request["image"].file.read()  # by then LitServe has made a form of it
        return data

    def predict(self, picture: bytes) -> bytes:
        """The mask."""
        return self.work(picture)

    def encode_response(self, mask: bytes) -> Response:
        """As PNG."""
        return Response(mask, media_type="image/png")

"""JSON documents in a store: sorted keys, indented by one, a newline at the end. Equal values give equal bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from roadbed.errors import DamagedError
from roadbed.storage.store import Store


def json_bytes(document: Mapping[str, Any]) -> bytes:
    """The bytes of a document. Raises ValueError on not-a-number and infinity, which JSON has not."""
    text = json.dumps(document, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def get_json(store: Store, key: str) -> dict[str, Any]:
    """The document under `key`. Raises NotFoundError, or DamagedError if it is not a JSON object."""
    return _parse(store, key, store.get(key))


def get_json_with_etag(store: Store, key: str) -> tuple[dict[str, Any], str]:
    """The document under `key`, and the etag for `put_if`."""
    data, etag = store.get_with_etag(key)
    return _parse(store, key, data), etag


def put_json(store: Store, key: str, document: Mapping[str, Any]) -> str:
    """Create or replace the document; the new etag."""
    return store.put(key, json_bytes(document))


def _parse(store: Store, key: str, data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except ValueError as error:
        raise DamagedError(f"{store.uri}/{key}: is not JSON ({error}); restore the object or delete it") from None
    if not isinstance(document, dict):
        raise DamagedError(f"{store.uri}/{key}: holds a JSON {type(document).__name__}, expected an object")
    return document

"""The registry: a prefix in the store, no database.

    ROOT/models/NAME/versions/3/claim.json       created with If-None-Match: who holds the number
                     versions/3/...              weights, card.json, what else belongs to the version
                     versions/3/manifest.json    written last: bytes and sha256 of every file
                     aliases/champion.json       moved by If-Match: the version an alias names, and its history

Versions never change. References read NAME@ALIAS, NAME:NUMBER, or the uri of a version.
"""

from __future__ import annotations

from roadbed.registry.gates import Gates, failed_gates
from roadbed.registry.references import looks_like_reference
from roadbed.registry.registry import Registry
from roadbed.registry.version import Version

__all__ = ["Gates", "Registry", "Version", "failed_gates", "looks_like_reference"]

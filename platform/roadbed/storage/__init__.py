"""Object stores behind one small protocol: s3:// (any S3, by boto3) and file:// (a folder).

Holds the protocol, the two stores and JSON helpers; what objects mean is for the floors above. boto3 is imported when
the first s3:// store is opened. Stores are safe to share between threads, and pickle as their uri.
"""

from __future__ import annotations

from roadbed.storage.documents import get_json, get_json_with_etag, json_bytes, put_json
from roadbed.storage.stats import StoreStats
from roadbed.storage.store import ObjectInfo, Store, UnfinishedUpload, open_store, split_uri

__all__ = [
    "ObjectInfo",
    "Store",
    "StoreStats",
    "UnfinishedUpload",
    "get_json",
    "get_json_with_etag",
    "json_bytes",
    "open_store",
    "put_json",
    "split_uri",
]

"""The policies of k8s/iam: every request that the store sends is allowed to somebody, and no more to anybody."""

from __future__ import annotations

import fnmatch
import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUCKET = "arn:aws:s3:::BUCKET"
POLICIES = {path.stem: json.loads(path.read_text()) for path in (ROOT / "k8s" / "iam").glob("*.json")}
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
ACTIONS = {
    "get_object": "s3:GetObject",
    "head_object": "s3:GetObject",
    "put_object": "s3:PutObject",
    "copy_object": "s3:PutObject",
    "delete_object": "s3:DeleteObject",
    "list_objects_v2": "s3:ListBucket",
    "create_multipart_upload": "s3:PutObject",
    "upload_part": "s3:PutObject",
    "complete_multipart_upload": "s3:PutObject",
    "abort_multipart_upload": "s3:AbortMultipartUpload",
    "list_multipart_uploads": "s3:ListBucketMultipartUploads",
    "list_parts": "s3:ListMultipartUploadParts",
}


def allows(policy: str, action: str, key: str | None) -> bool:
    """Whether a policy allows an action on an object, or on the bucket itself."""
    resource = BUCKET if key is None else f"{BUCKET}/{key}"
    statements: list[dict[str, Any]] = POLICIES[policy]["Statement"]
    return any(
        action in statement["Action"] and any(fnmatch.fnmatchcase(resource, one) for one in statement["Resource"])
        for statement in statements
    )


def test_every_request_of_the_store_is_allowed_to_people() -> None:
    source = "".join(path.read_text() for path in (ROOT / "platform/roadbed/storage").glob("s3*.py"))
    sent = set(re.findall(r"\bclient\.([a-z_0-9]+)\(", source))
    assert sent == set(ACTIONS)
    for request in sent:
        action = ACTIONS[request]
        assert allows("people", action, None if action.startswith("s3:ListBucket") else "datasets/a"), request


@pytest.mark.parametrize(
    ("action", "key", "who"),
    [
        ("s3:ListBucket", None, {"jobs", "people", "reader"}),
        ("s3:GetObject", "datasets/camvid/dataset.json", {"jobs", "people", "reader"}),
        ("s3:PutObject", "runs/camvid/status.json", {"jobs", "people"}),
        ("s3:PutObject", "sweeps/camvid/status.json", {"jobs", "people"}),
        ("s3:PutObject", "models/camvid/versions/3/manifest.json", {"jobs", "people"}),
        ("s3:PutObject", "models/camvid/aliases/champion.json", {"people"}),
        ("s3:PutObject", "datasets/camvid/dataset.json", {"people"}),
        ("s3:DeleteObject", "runs/camvid/attempts/0001/checkpoints/00000010/manifest.json", {"jobs", "people"}),
        ("s3:DeleteObject", "models/camvid/versions/3/manifest.json", {"people"}),
        ("s3:AbortMultipartUpload", "runs/camvid/attempts/0001/checkpoints/00000010/a", {"jobs", "people"}),
        ("s3:ListBucketMultipartUploads", None, {"people"}),
    ],
)
def test_each_may_do_what_he_needs_and_no_more(action: str, key: str | None, who: set[str]) -> None:
    assert {policy for policy in POLICIES if allows(policy, action, key)} == who


def test_nobody_may_do_everything() -> None:
    for policy in POLICIES.values():
        assert policy["Version"] == "2012-10-17"
        for statement in policy["Statement"]:
            assert statement["Effect"] == "Allow"
            assert not any("*" in action for action in statement["Action"])
            assert all(one.startswith(BUCKET) for one in statement["Resource"])

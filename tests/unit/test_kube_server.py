"""The API server of the tests answers the official client as the real one does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config

from kube_server import KubeServer, RefusalError, labels_match, merged

ONE = {"containers": [{"name": "ray"}]}
DENIED = 'admission webhook "vrayjob.kb.io" denied the request: metadata.name is too long'
RAY = ("ray.io", "v1", "roadbed", "rayjobs")


def rayjob(name: str, **labels: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "roadbed", "labels": labels}
    return {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": metadata, "spec": {"entrypoint": "true"}}


@pytest.fixture
def api(kube_server: KubeServer) -> Iterator[client.ApiClient]:
    with config.new_client_from_config() as api:
        yield api


def test_objects_are_kept_listed_and_deleted_with_what_they_own(kube_server: KubeServer, api: client.ApiClient) -> None:
    custom = client.CustomObjectsApi(api)
    made = custom.create_namespaced_custom_object(*RAY, rayjob("town", kind="train"))
    custom.create_namespaced_custom_object(*RAY, rayjob("city", kind="tune"))
    listed = custom.list_namespaced_custom_object(*RAY, label_selector="kind=train")
    assert [one["metadata"]["name"] for one in listed["items"]] == ["town"]
    owner = {"apiVersion": "ray.io/v1", "kind": "RayJob", "name": "town", "uid": made["metadata"]["uid"]}
    metadata = {"name": "town-head", "namespace": "roadbed", "ownerReferences": [owner]}
    kube_server.put(
        {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [{"name": "head"}]}}
    )
    assert client.CoreV1Api(api).list_namespaced_pod("roadbed").items[0].metadata.name == "town-head"
    custom.delete_namespaced_custom_object(*RAY, "town")
    assert kube_server.get("pods", "town-head") is None
    assert kube_server.get("rayjobs", "city") is not None


def test_a_dry_run_keeps_nothing(kube_server: KubeServer, api: client.ApiClient) -> None:
    client.CustomObjectsApi(api).create_namespaced_custom_object(*RAY, rayjob("town"), dry_run="All")
    assert kube_server.get("rayjobs", "town") is None


def test_a_merge_patch_changes_what_it_names(kube_server: KubeServer, api: client.ApiClient) -> None:
    kube_server.put(rayjob("town") | {"status": {"jobStatus": "RUNNING"}})
    custom = client.CustomObjectsApi(api)
    custom.patch_namespaced_custom_object(*RAY, "town", {"spec": {"suspend": True}})
    found = custom.get_namespaced_custom_object(*RAY, "town")
    assert (found["spec"], found["status"]) == ({"entrypoint": "true", "suspend": True}, {"jobStatus": "RUNNING"})


@pytest.mark.parametrize(
    ("arrange", "code", "said"),
    [
        (lambda server: server.put(rayjob("town")), 409, 'rayjobs.ray.io \\"town\\" already exists'),
        (lambda server: server.forbidden.add(("create", "rayjobs")), 403, "cannot create resource"),
        (lambda server: server.absent_groups.add("ray.io"), 404, "could not find the requested resource"),
        (
            lambda server: server.refusals.update({("create", "rayjobs"): RefusalError(403, "Forbidden", DENIED)}),
            403,
            "denied the request",
        ),
    ],
)
def test_it_refuses_as_the_real_one_does(
    kube_server: KubeServer, api: client.ApiClient, arrange: Any, code: int, said: str
) -> None:
    arrange(kube_server)
    with pytest.raises(client.ApiException) as raised:
        client.CustomObjectsApi(api).create_namespaced_custom_object(*RAY, rayjob("town"))
    assert raised.value.status == code
    assert said in raised.value.body


def test_a_bad_name_and_a_lost_object(kube_server: KubeServer, api: client.ApiClient) -> None:
    custom = client.CustomObjectsApi(api)
    for code, ask in (
        (422, lambda: custom.create_namespaced_custom_object(*RAY, rayjob("Town_1"))),
        (404, lambda: custom.get_namespaced_custom_object(*RAY, "town")),
    ):
        with pytest.raises(client.ApiException) as raised:
            ask()
        assert raised.value.status == code


def test_a_wrong_token_is_refused(kube_server: KubeServer, tmp_path: Path) -> None:
    path = str(kube_server.write_kubeconfig(tmp_path / "other", token="of-somebody-else"))
    with config.new_client_from_config(path) as api, pytest.raises(client.ApiException) as raised:
        client.CustomObjectsApi(api).list_namespaced_custom_object(*RAY)
    assert raised.value.status == 401


def test_logs_are_followed_until_their_container_ends(kube_server: KubeServer, api: client.ApiClient) -> None:
    metadata = {"name": "head", "namespace": "roadbed"}
    kube_server.put(
        {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [{"name": "ray"}]}}
    )
    core = client.CoreV1Api(api)
    with pytest.raises(client.ApiException, match="waiting to start"):
        core.read_namespaced_pod_log("head", "roadbed")
    kube_server.log("head", "ray", "first", is_open=True)
    stream = core.read_namespaced_pod_log("head", "roadbed", follow=True, _preload_content=False)
    lines = iter(stream)
    assert next(lines) == b"first\n"
    threading.Timer(0.05, lambda: kube_server.log("head", "ray", "second")).start()
    assert next(lines) == b"second\n"
    assert list(lines) == []


@pytest.mark.parametrize(
    ("selector", "is_met"),
    [
        ("", True),
        ("a=1", True),
        ("a==1,b!=3", True),
        ("a=2", False),
        ("a in (1, 2),b", True),
        ("a notin (1)", False),
        ("!c", True),
        ("!a", False),
        ("roadbed.dev/run=town", False),
    ],
)
def test_label_selectors(selector: str, is_met: bool) -> None:
    assert labels_match(selector, {"a": "1", "b": "2"}) == is_met


def test_a_merge_patch_takes_away_what_is_null() -> None:
    assert merged({"a": {"b": 1, "c": 2}, "d": [1]}, {"a": {"b": None}, "d": [2]}) == {"a": {"c": 2}, "d": [2]}

"""The Kubernetes API server, by the official client: objects as plain dicts, and errors that say what to do next.

The kubeconfig is that of kubectl ($KUBECONFIG, else ~/.kube/config); a pod without one uses its own account.
"""

from __future__ import annotations

import builtins
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from roadbed import __version__
from roadbed.errors import ClusterError, NoSuchObjectError, ObjectExistsError, UsageError
from roadbed.kube.names import NAMESPACE

# Kinds of objects by their plural, with the version of the API that has them.
NAMESPACED = {
    "rayjobs": "ray.io/v1",
    "rayclusters": "ray.io/v1",
    "pods": "v1",
    "events": "v1",
    "configmaps": "v1",
    "resourcequotas": "v1",
    "jobs": "batch/v1",
    "workloads": "kueue.x-k8s.io/v1beta2",
    "localqueues": "kueue.x-k8s.io/v1beta2",
}
ACCOUNT_FOLDER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 5.0, 30.0
# A log that is followed may be silent for long.
FOLLOW_TIMEOUT_S = 3600.0

_OPERATORS = {
    "ray.io": "the KubeRay operator is not installed",
    "kueue.x-k8s.io": "Kueue is not installed",
}

# An API server says the first of a kind that a group lacks, and the second of a group that it lacks.
_NO_KIND = re.compile("could not find the requested resource|page not found")


class Cluster:
    """One namespace of a cluster. Objects are dicts, as Kubernetes writes them in JSON.

    Every method raises ClusterError, or its children NoSuchObjectError and ObjectExistsError.
    """

    def __init__(self, api: Any, *, server: str, namespace: str) -> None:
        """`api` is a kubernetes.client.ApiClient."""
        self._api = api
        self.server = server
        self.namespace = namespace

    @classmethod
    def connect(cls, *, context: str | None = None, namespace: str | None = None) -> Self:
        """By the kubeconfig's `context` (its current one), in `namespace` (the context's). Asks nothing of it yet.

        Raises ClusterError where there is no kubeconfig, or none that can be used, and UsageError for what is no name.
        """
        if namespace and not NAMESPACE.fullmatch(namespace):
            raise UsageError(
                f"--namespace {namespace!r}: is no name of a namespace, which has up to 63 lower-case letters, digits "
                "and dashes; `kubectl get namespaces` lists those there are"
            )
        from kubernetes import client

        settings = client.Configuration()
        settings.retries = 0  # urllib3 would tell each retry on stderr
        own_namespace = _configure(settings, context)
        api = client.ApiClient(settings)
        api.user_agent = f"roadbed/{__version__}"
        return cls(api, server=settings.host, namespace=namespace or own_namespace)

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """One object of a kind ("rayjobs")."""
        return self._json("GET", self._path(kind, name))

    def list(self, kind: str, *, labels: str = "", fields: str = "") -> list[dict[str, Any]]:
        """All objects of a kind, by label selector ("a=b,c=d") and field selector, however many there are."""
        found: list[dict[str, Any]] = []
        query = {"labelSelector": labels, "fieldSelector": fields, "limit": "500"}
        while True:
            page = self._json("GET", self._path(kind), query=query)
            found += page.get("items") or []
            query["continue"] = page.get("metadata", {}).get("continue") or ""
            if not query["continue"]:
                return found

    def create(self, kind: str, manifest: Mapping[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        """Make an object; as it is then. `dry_run`: the API server checks it and keeps nothing."""
        name = manifest["metadata"].get("name", "")
        query = {"dryRun": "All" if dry_run else "", "fieldValidation": "Strict", "fieldManager": "roadbed"}
        return self._json("POST", self._path(kind), name=name, query=query, body=dict(manifest))

    def patch(self, kind: str, name: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Change an object by a merge patch: dicts are merged, anything else is replaced, None takes a key away."""
        return self._json("PATCH", self._path(kind, name), body=dict(changes), query={"fieldManager": "roadbed"})

    def delete(self, kind: str, name: str) -> None:
        """Delete an object, and after it what it owns. Raises NoSuchObjectError if it is not there."""
        self._json("DELETE", self._path(kind, name), query={"propagationPolicy": "Background"})

    def log(
        self,
        pod: str,
        *,
        container: str = "",
        follow: bool = False,
        previous: bool = False,
        tail_lines: int | None = None,
        timestamps: bool = False,
    ) -> Iterator[str]:
        """The lines of a pod's log as they come, without their ends. With `follow` until the container has ended."""
        query = {
            "container": container,
            "follow": "true" if follow else "",
            "previous": "true" if previous else "",
            "tailLines": "" if tail_lines is None else str(tail_lines),
            "timestamps": "true" if timestamps else "",
        }
        path = f"{self._path('pods', pod)}/log"
        response = self._call("GET", path, query=query, read_timeout_s=FOLLOW_TIMEOUT_S if follow else READ_TIMEOUT_S)
        try:
            with self._reached():
                yield from _lines(response)
        finally:
            response.release_conn()

    def version(self) -> str:
        """What the API server says of itself: "v1.36.0"."""
        return str(self._json("GET", "/version").get("gitVersion", "of no known version"))

    def serves(self, version: str) -> set[str]:
        """The kinds of a group's version ("ray.io/v1") by their plurals; none if the cluster has no such group."""
        try:
            listed = self._json("GET", f"/apis/{version}")
        except NoSuchObjectError:
            return set()
        return {str(one["name"]) for one in listed.get("resources") or []}

    def images(self, label: str) -> builtins.list[str]:
        """The images that Deployments of a label ("a=b") run, in all namespaces that there are."""
        found = self._json("GET", "/apis/apps/v1/deployments", query={"labelSelector": label})
        pods = [one["spec"]["template"]["spec"] for one in found.get("items") or []]
        return [container["image"] for pod in pods for container in pod["containers"]]

    def _path(self, kind: str, name: str = "") -> str:
        version = NAMESPACED[kind]
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        path = f"{root}/namespaces/{self.namespace}/{kind}"
        return f"{path}/{quote(name, safe='')}" if name else path

    def _json(
        self,
        method: str,
        path: str,
        *,
        name: str = "",
        query: Mapping[str, str] | None = None,
        body: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        with self._reached():
            text = self._call(method, path, name=name, query=query or {}, body=body).read()
        try:
            document: dict[str, Any] = json.loads(text)
        except ValueError:
            raise ClusterError(
                f"{self.server}: is no API server of Kubernetes, it answers {_message(text)!r}; name another context "
                "with --context"
            ) from None
        return document

    def _call(
        self,
        method: str,
        path: str,
        *,
        name: str = "",
        query: Mapping[str, str],
        body: dict[str, Any] | None = None,
        read_timeout_s: float = READ_TIMEOUT_S,
    ) -> Any:
        """The answer, whose body was not read yet. Raises ClusterError for one that is no success."""
        content = "application/merge-patch+json" if method == "PATCH" else "application/json"
        asked = self._api.param_serialize(
            method,
            path,
            query_params=[(key, text) for key, text in query.items() if text],
            header_params={"Accept": "application/json, */*", **({"Content-Type": content} if body else {})},
            body=body,
            auth_settings=["BearerToken"],
        )
        with self._reached():
            answer = self._api.call_api(*asked, _request_timeout=(CONNECT_TIMEOUT_S, read_timeout_s)).response
        if answer.status >= 400:
            try:
                raise self._refusal(method, path, name, answer.status, _message(answer.read()))
            finally:
                answer.release_conn()
        return answer

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Around what passes over the network."""
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            yield
        except (ApiException, HTTPError, OSError) as error:
            raise ClusterError(
                f"Kubernetes at {self.server} cannot be reached: {_last(error)}; look at `kubectl cluster-info`, or "
                "name another context with --context"
            ) from error

    def _refusal(self, method: str, path: str, name: str, status: int, message: str) -> ClusterError:
        """What an answer that is no success means, and what to do about it."""
        _, _, rest = path.partition(f"/namespaces/{self.namespace}/")
        what = f"{rest}/{name}" if name else rest
        where = f"{what} in namespace {self.namespace}" if what else f"{self.server}{path}"
        group = path.split("/")[2] if path.startswith("/apis/") else ""
        if status == 401:
            return ClusterError(
                f"Kubernetes at {self.server} does not know who you are: {message}; log in again, or take another "
                "context with --context"
            )
        if status == 403:
            return ClusterError(
                f"{where}: you may not {_DEED[method]} it: {message}; ask for the Role of roadbed's submitters in "
                f"namespace {self.namespace}, or name another with --namespace"
            )
        if status == 404 and group in _OPERATORS and _NO_KIND.search(message):
            return NoSuchObjectError(f"{where}: the cluster has no such kind: {_OPERATORS[group]}, or is too old")
        if status == 404:
            return NoSuchObjectError(f"{where}: not there ({message}); look at another --namespace or --context")
        if status == 409:
            return ObjectExistsError(f"{where}: is there already, or was changed meanwhile: {message}")
        if status in (400, 422):
            return ClusterError(f"{where}: the API server refuses it: {message}")
        return ClusterError(f"{where}: the API server failed with {status}: {message}; try again in a while")


_DEED = {"GET": "read", "POST": "create", "PATCH": "change", "DELETE": "delete"}


def find_kubeconfig() -> tuple[str, bool]:
    """Where the kubeconfig is looked for ($KUBECONFIG, else ~/.kube/config), and whether one is there."""
    where = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    return where, any(Path(path).is_file() for path in where.split(os.pathsep))


def _configure(settings: Any, context: str | None) -> str:
    """Fill `settings` in; the namespace that the kubeconfig's context, or this pod's account, is in."""
    from kubernetes import config
    from kubernetes.config.kube_config import list_kube_config_contexts

    where, is_there = find_kubeconfig()
    try:
        if not is_there and os.environ.get("KUBERNETES_SERVICE_HOST") and context is None:
            config.load_incluster_config(client_configuration=settings)
            return (ACCOUNT_FOLDER / "namespace").read_text().strip()
        if not is_there:
            raise ClusterError(f"{where}: no kubeconfig; set KUBECONFIG to one (a cloud's command line writes it)")
        config.load_kube_config(where, context=context, client_configuration=settings, persist_config=False)
        contexts, current = list_kube_config_contexts(where)
    except (config.ConfigException, OSError, ValueError, KeyError, TypeError) as error:
        raise ClusterError(
            f"{where}: cannot be used: {_last(error)}; see `kubectl config get-contexts` for the contexts there are"
        ) from error
    chosen = next((one for one in contexts if one["name"] == context), current)
    return str(chosen["context"].get("namespace") or "default")


def _lines(response: Any) -> Iterator[str]:
    """The lines of a body that may come in pieces, cut anywhere."""
    rest = b""
    for piece in response.stream(65536):
        *whole, rest = (rest + piece).split(b"\n")
        yield from (line.decode(errors="replace") for line in whole)
    if rest:
        yield rest.decode(errors="replace")


def _message(body: bytes) -> str:
    """What a Status object says, or the text that a proxy before the API server answered."""
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return " ".join(body.decode(errors="replace").split())[:300] or "no reason given"


def _last(error: BaseException) -> str:
    """What is behind a chain of errors, in a line."""
    reason = getattr(error, "reason", None) or error
    return " ".join(str(reason).split())[:300] or type(error).__name__

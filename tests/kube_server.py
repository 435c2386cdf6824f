"""A Kubernetes API server for tests: real HTTP, objects in memory, and the real one's answers to the official client.

It keeps any object of the resources in `RESOURCES` and speaks discovery (for kubectl), get, list (labelSelector,
fieldSelector), create (also generateName and dryRun), replace, merge patch, delete (with the objects that it owned) and
pod logs (also follow). What is wrong is refused as the API server does: 401, 403, 404, 409, 415, 422, each with a
Status. Nothing acts on the objects: no scheduler, no operator, no admission; tests write statuses themselves.
"""

from __future__ import annotations

import copy
import json
import re
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

TOKEN = "token-of-the-test-user"
USER = "system:serviceaccount:roadbed:roadbed-submitter"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,251}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


class Resource(NamedTuple):
    """A kind as the API serves it."""

    group: str
    version: str
    plural: str
    kind: str


RESOURCES = (
    Resource("", "v1", "namespaces", "Namespace"),
    Resource("", "v1", "nodes", "Node"),
    Resource("", "v1", "pods", "Pod"),
    Resource("", "v1", "events", "Event"),
    Resource("", "v1", "configmaps", "ConfigMap"),
    Resource("", "v1", "secrets", "Secret"),
    Resource("", "v1", "services", "Service"),
    Resource("", "v1", "serviceaccounts", "ServiceAccount"),
    Resource("apps", "v1", "deployments", "Deployment"),
    Resource("apps", "v1", "statefulsets", "StatefulSet"),
    Resource("batch", "v1", "jobs", "Job"),
    Resource("ray.io", "v1", "rayjobs", "RayJob"),
    Resource("ray.io", "v1", "rayclusters", "RayCluster"),
    Resource("ray.io", "v1", "rayservices", "RayService"),
    Resource("kueue.x-k8s.io", "v1beta1", "workloads", "Workload"),
    Resource("kueue.x-k8s.io", "v1beta1", "localqueues", "LocalQueue"),
    Resource("kueue.x-k8s.io", "v1beta1", "clusterqueues", "ClusterQueue"),
    Resource("kueue.x-k8s.io", "v1beta2", "workloads", "Workload"),
    Resource("kueue.x-k8s.io", "v1beta2", "localqueues", "LocalQueue"),
    Resource("kueue.x-k8s.io", "v1beta2", "clusterqueues", "ClusterQueue"),
)

CLUSTER_SCOPED = {"namespaces", "nodes", "clusterqueues"}

Key = tuple[str, str, str, str]
"""Group, plural, namespace ("" for what has none), name."""


class RefusalError(Exception):
    """An answer that is no success, as a Status object."""

    def __init__(self, code: int, reason: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.body = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "details": details,
            "code": code,
        }


@dataclass
class PodLog:
    """What a container has written; who follows it waits until it is closed."""

    lines: list[tuple[str, str]] = field(default_factory=list)
    """When each was written, and what."""
    is_open: bool = False


@dataclass
class Asked:
    """Which request a path and a method are."""

    resource: Resource
    namespace: str
    name: str
    subresource: str
    query: dict[str, str]


class KubeServer:
    """The server. Use it as a context manager; `write_kubeconfig` is how clients find it."""

    def __init__(self) -> None:
        self.objects: dict[Key, dict[str, Any]] = {}
        self.requests: list[str] = []
        """Method and path of every request, in order."""
        self.logs: dict[tuple[str, str, str], PodLog] = {}
        """By namespace, pod and container."""
        self.needs_token = True
        """kubectl sends no token over plain HTTP."""
        self.absent_groups: set[str] = set()
        """API groups whose CRDs are not installed."""
        self.forbidden: set[tuple[str, str]] = set()
        """Verb and plural that the user may not do."""
        self.refusals: dict[tuple[str, str], RefusalError] = {}
        """Verb and plural that an admission webhook (or anything else) answers so."""
        self.changed = threading.Condition()
        self._version = 0
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    @contextmanager
    def running(self) -> Iterator[KubeServer]:
        """Serve for the time of a block."""
        self._thread.start()
        try:
            yield self
        finally:
            with self.changed:
                for log in self.logs.values():
                    log.is_open = False
                self.changed.notify_all()
            self._http.shutdown()
            self._http.server_close()
            self._thread.join()

    def write_kubeconfig(self, path: Path, *, namespace: str = "roadbed", token: str = TOKEN) -> Path:
        """A kubeconfig whose only context leads here."""
        values = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {"server": self.url}}],
            "users": [{"name": "test", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": namespace}}],
            "current-context": "test",
        }
        path.write_text(yaml.safe_dump(values))
        return path

    def put(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Create or replace an object with everything in it, its status too; what is stored."""
        group, _, version = str(manifest["apiVersion"]).rpartition("/")
        resource = next(one for one in RESOURCES if one[:2] == (group, version) and one.kind == manifest["kind"])
        metadata = manifest["metadata"]
        key = (group, resource.plural, metadata.get("namespace", ""), metadata["name"])
        with self.changed:
            return self._keep(key, copy.deepcopy(dict(manifest)))

    def get(self, plural: str, name: str, *, namespace: str = "roadbed") -> dict[str, Any] | None:
        """A stored object, None if there is none."""
        found = [one for (_, *where), one in self.objects.items() if where == [plural, namespace, name]]
        return found[0] if found else None

    def log(self, pod: str, container: str, *lines: str, namespace: str = "roadbed", is_open: bool = False) -> None:
        """A container writes lines; those who follow it get them, and their end unless it stays open."""
        with self.changed:
            log = self.logs.setdefault((namespace, pod, container), PodLog())
            log.lines += [(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}000Z", line) for line in lines]
            log.is_open = is_open
            self.changed.notify_all()

    def answer(self, method: str, asked: Asked, body: Any, content_type: str) -> tuple[int, dict[str, Any]]:
        """Status and body of one request. Raises RefusalError."""
        verb = _verb(method, asked)
        self._check(verb, asked)
        with self.changed:
            if verb == "list":
                return 200, self._list(asked)
            if verb == "create":
                return 201, self._create(asked, body)
            key, found = self._found(asked)
            if verb == "get":
                return 200, found
            if verb == "delete":
                return 200, self._delete(key, found, asked)
            return 200, self._change(key, found, asked, body, content_type)

    def _check(self, verb: str, asked: Asked) -> None:
        group, plural = asked.resource.group, asked.resource.plural
        if group in self.absent_groups:
            raise RefusalError(404, "NotFound", "the server could not find the requested resource")
        if (verb, plural) in self.forbidden:
            dotted = f"{plural}.{group}" if group else plural
            raise RefusalError(
                403,
                "Forbidden",
                f'{dotted} is forbidden: User "{USER}" cannot {verb} resource "{plural}" in API group "{group}" in the '
                f'namespace "{asked.namespace}"',
                kind=plural,
            )
        if (verb, plural) in self.refusals:
            raise self.refusals[verb, plural]

    def _list(self, asked: Asked) -> dict[str, Any]:
        resource = asked.resource
        items = [
            one
            for (group, plural, namespace, _), one in sorted(self.objects.items())
            if (group, plural) == (resource.group, resource.plural)
            and asked.namespace in ("", namespace)
            and labels_match(asked.query.get("labelSelector", ""), one["metadata"].get("labels") or {})
            and _fields_match(asked.query.get("fieldSelector", ""), one)
        ]
        return {
            "kind": f"{resource.kind}List",
            "apiVersion": _api_version(resource),
            "metadata": {"resourceVersion": str(self._version)},
            "items": items,
        }

    def _create(self, asked: Asked, body: Any) -> dict[str, Any]:
        resource = asked.resource
        if body.get("apiVersion") != _api_version(resource) or body.get("kind") != resource.kind:
            raise RefusalError(
                400,
                "BadRequest",
                f"the API version in the data ({body.get('apiVersion')}) does not match the expected API version "
                f"({_api_version(resource)})",
            )
        metadata = body.setdefault("metadata", {})
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"] + uuid.uuid4().hex[:5]
        name = metadata.get("name", "")
        if not _NAME.fullmatch(name):
            raise RefusalError(
                422,
                "Invalid",
                f'{resource.kind}.{resource.group} "{name}" is invalid: metadata.name: Invalid value: "{name}": a '
                "lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
                "start and end with an alphanumeric character",
                name=name,
            )
        if metadata.setdefault("namespace", asked.namespace) != asked.namespace:
            raise RefusalError(400, "BadRequest", "the namespace of the provided object does not match the request")
        key = (resource.group, resource.plural, asked.namespace, name)
        if key in self.objects:
            raise RefusalError(409, "AlreadyExists", f'{_dotted(resource)} "{name}" already exists', name=name)
        body.pop("status", None)
        if asked.query.get("dryRun") == "All":
            return dict(body)
        return self._keep(key, body)

    def _change(self, key: Key, found: dict[str, Any], asked: Asked, body: Any, content_type: str) -> dict[str, Any]:
        """Replace (PUT has no content type of a patch) or merge, RFC 7396."""
        if content_type in {"application/merge-patch+json", "application/strategic-merge-patch+json"}:
            body = merged(found, body)
        elif content_type != "application/json":
            raise RefusalError(
                415, "UnsupportedMediaType", f"the body of the request was in an unknown format: {content_type}"
            )
        given = body["metadata"].get("resourceVersion")
        if given not in (None, found["metadata"]["resourceVersion"]):
            raise RefusalError(
                409,
                "Conflict",
                f'Operation cannot be fulfilled on {_dotted(asked.resource)} "{asked.name}": the object has been '
                "modified; please apply your changes to the latest version and try again",
            )
        is_status = asked.subresource == "status"
        kept = {**found, "status": body.get("status", {})} if is_status else {**body, "status": found.get("status", {})}
        kept["metadata"] = {**kept["metadata"], "uid": found["metadata"]["uid"]}
        return kept if asked.query.get("dryRun") == "All" else self._keep(key, kept)

    def _delete(self, key: Key, found: dict[str, Any], asked: Asked) -> dict[str, Any]:
        if asked.query.get("dryRun") != "All":
            self._drop(key)
        details = {"name": asked.name, "group": asked.resource.group, "kind": asked.resource.plural}
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}

    def _drop(self, key: Key) -> None:
        """Remove an object, and what it owned."""
        gone = self.objects.pop(key)
        for other, one in list(self.objects.items()):
            owners = {owner.get("uid") for owner in one["metadata"].get("ownerReferences") or []}
            is_inside = key[:2] == ("", "namespaces") and other[2] == key[3]
            if other in self.objects and (is_inside or gone["metadata"]["uid"] in owners):
                self._drop(other)

    def _found(self, asked: Asked) -> tuple[Key, dict[str, Any]]:
        key = (asked.resource.group, asked.resource.plural, asked.namespace, asked.name)
        if key not in self.objects:
            raise RefusalError(404, "NotFound", f'{_dotted(asked.resource)} "{asked.name}" not found', name=asked.name)
        return key, self.objects[key]

    def _keep(self, key: Key, manifest: dict[str, Any]) -> dict[str, Any]:
        self._version += 1
        before = self.objects.get(key, {}).get("metadata", {})
        metadata = manifest["metadata"]
        metadata.setdefault("uid", before.get("uid", str(uuid.uuid4())))
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        metadata.setdefault("creationTimestamp", before.get("creationTimestamp", now))
        metadata["resourceVersion"] = str(self._version)
        self.objects[key] = manifest
        return manifest


def labels_match(selector: str, labels: Mapping[str, str]) -> bool:
    """Whether labels meet a selector of equalities, sets and existence: `a=b,c!=d,e in (f,g),h,!i`."""
    for part in re.split(r",(?![^(]*\))", selector) if selector else []:
        if found := re.fullmatch(r"\s*([\w./-]+)\s+(in|notin)\s+\(([^)]*)\)\s*", part):
            is_met = (labels.get(found[1]) in {one.strip() for one in found[3].split(",")}) == (found[2] == "in")
        elif found := re.fullmatch(r"\s*([\w./-]+)\s*(==|=|!=)\s*([\w.-]*)\s*", part):
            is_met = (labels.get(found[1]) == found[3]) == (found[2] != "!=")
        else:
            key = part.strip()
            is_met = key[1:] not in labels if key.startswith("!") else key in labels
        if not is_met:
            return False
    return True


def merged(target: Any, patch: Any) -> Any:
    """`target` with a merge patch applied: null takes a key away, lists are replaced whole."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def _fields_match(selector: str, one: Mapping[str, Any]) -> bool:
    for part in selector.split(",") if selector else []:
        path, value = re.split(r"==?", part, maxsplit=1)
        found: Any = one
        for key in path.split("."):
            found = (found or {}).get(key)
        if found != value:
            return False
    return True


def _discovered(path: str, absent_groups: set[str]) -> dict[str, Any] | None:
    """What the API server says of the groups and kinds that it has; None for other paths."""
    found = [one for one in RESOURCES if one.group not in absent_groups]
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        groups = [_group(name, found) for name in dict.fromkeys(one.group for one in found) if name]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    version = path.removeprefix("/apis/").removeprefix("/api/")
    resources = [
        {
            "name": one.plural,
            "singularName": one.kind.lower(),
            "namespaced": one.plural not in CLUSTER_SCOPED,
            "kind": one.kind,
            "verbs": ["create", "delete", "get", "list", "patch", "update"],
        }
        for one in found
        if _api_version(one) == version
    ]
    listed = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}
    return listed if resources else None


def _group(name: str, found: list[Resource]) -> dict[str, Any]:
    versions = sorted({one.version for one in found if one.group == name}, reverse=True)
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def _verb(method: str, asked: Asked) -> str:
    if method == "GET":
        return "get" if asked.name else "list"
    return {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}[method]


def _api_version(resource: Resource) -> str:
    return f"{resource.group}/{resource.version}" if resource.group else resource.version


def _dotted(resource: Resource) -> str:
    return f"{resource.plural}.{resource.group}" if resource.group else resource.plural


def _parse(path: str) -> Asked:
    """The request behind a path such as /apis/ray.io/v1/namespaces/roadbed/rayjobs/town. Raises RefusalError."""
    split = urlsplit(path)
    parts = [unquote(part) for part in split.path.split("/") if part]
    query = {key: values[-1] for key, values in parse_qs(split.query).items()}
    group, version, rest = ("", parts[1:2], parts[2:]) if parts[:1] == ["api"] else (*parts[1:2], parts[2:3], parts[3:])
    namespace = ""
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    for resource in RESOURCES:
        if [resource.group, [resource.version], resource.plural] == [group, version, *rest[:1]]:
            name, subresource = [*rest[1:], "", ""][:2]
            return Asked(resource, namespace, name, subresource, query)
    raise RefusalError(404, "NotFound", "the server could not find the requested resource")


def _handler_of(server: KubeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._serve()

        do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

        def log_message(self, *_: Any) -> None:
            """Says nothing: tests look at `requests`."""

        def _serve(self) -> None:
            text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            server.requests.append(f"{self.command} {self.path}")
            try:
                if server.needs_token and self.headers.get("Authorization") != f"Bearer {TOKEN}":
                    raise RefusalError(401, "Unauthorized", "Unauthorized")
                if self.path.split("?")[0] == "/version":
                    self._send(200, {"major": "1", "minor": "36", "gitVersion": "v1.36.0"})
                    return
                if (discovered := _discovered(self.path.split("?")[0], server.absent_groups)) is not None:
                    self._send(200, discovered)
                    return
                asked = _parse(self.path)
                if asked.subresource == "log" and self.command == "GET":
                    self._send_log(asked)
                    return
                content_type = (self.headers.get("Content-Type") or "").partition(";")[0]
                self._send(*server.answer(self.command, asked, json.loads(text or b"null"), content_type))
            except RefusalError as refusal:
                self._send(refusal.code, refusal.body)

        def _send(self, status: int, body: Any) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _send_log(self, asked: Asked) -> None:
            server._check("get", Asked(asked.resource._replace(plural="pods/log"), asked.namespace, "", "", {}))
            _, pod = server._found(asked)
            containers = [one["name"] for one in pod["spec"]["containers"]]
            container = asked.query.get("container") or containers[0]
            if container not in containers:
                raise RefusalError(400, "BadRequest", f"container {container} is not valid for pod {asked.name}")
            log = server.logs.get((asked.namespace, asked.name, container))
            if log is None:
                waiting = f'container "{container}" in pod "{asked.name}" is waiting to start: ContainerCreating'
                raise RefusalError(400, "BadRequest", waiting)
            first = max(0, len(log.lines) - int(asked.query.get("tailLines") or len(log.lines)))
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            has_stamps = asked.query.get("timestamps", "").lower() == "true"
            for at, line in _lines(log, first, is_following=asked.query.get("follow", "").lower() == "true"):
                data = f"{at} {line}\n".encode() if has_stamps else f"{line}\n".encode()
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")

    def _lines(log: PodLog, first: int, *, is_following: bool) -> Iterator[tuple[str, str]]:
        number = first
        while True:
            with server.changed:
                while number >= len(log.lines) and log.is_open and is_following:
                    server.changed.wait()
                new = log.lines[number:]
            yield from new
            number += len(new)
            if not (is_following and log.is_open) and number >= len(log.lines):
                return

    return Handler

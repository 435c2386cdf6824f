"""Rules on RayServices: what KubeRay 1.7's operator refuses, and what Ray Serve cannot read.

Sources: the operator's `ValidateRayServiceSpec`, and the schema of Ray Serve's config files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from roadbed.kube.lint.fields import Field, parsed
from roadbed.kube.lint.rule import Finding, Rule, of_kind

_DURATION = re.compile(r"([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h))+|[0-9]+")


def _serve_config(service: Field) -> Iterator[Finding]:
    where = service["spec"]["serveConfigV2"]
    config = parsed(where.text)
    if not isinstance(config, dict):
        yield Finding(
            where, "is no YAML of keys and values", "write `applications:` with a list, as Ray Serve reads it"
        )
        return
    applications = Field(config, where.path, where.number)["applications"]
    if not applications.items():
        yield Finding(applications, "the service has no application", "write one with name and import_path")
    for application in applications.items():
        if not re.fullmatch(r"[\w.]+[.:]\w+", application["import_path"].text):
            text = f"{application['import_path'].value!r} is no import path"
            yield Finding(application["import_path"], text, "write MODULE:NAME, such as roadbed.serving.app:build")
        yield from _deployments(application)
    for key, default in (("name", "default"), ("route_prefix", "/")):
        names = [app[key].value if app[key].is_set else default for app in applications.items()]
        for app, name in zip(applications.items(), names, strict=True):
            if names.count(name) > 1 and name is not None:
                yield Finding(app[key], f"{name!r} stands in two applications", "give every one its own")


def _deployments(application: Field) -> Iterator[Finding]:
    for deployment in application["deployments"].items():
        scaling = deployment["autoscaling_config"]
        least, most = scaling["min_replicas"], scaling["max_replicas"]
        if least.whole is not None and most.whole is not None and least.whole > most.whole:
            yield Finding(least, f"min_replicas {least.whole} > max_replicas {most.whole}", "write min <= max")
        if scaling.is_set and deployment["num_replicas"].whole is not None:
            yield Finding(deployment["num_replicas"], "is refused beside autoscaling_config", "keep one of the two")
        if scaling.is_set and application["external_scaler_enabled"].value is True:
            where = application["external_scaler_enabled"]
            yield Finding(where, "is refused beside autoscaling_config", "keep one of the two")


def _service(service: Field) -> Iterator[Finding]:
    spec = service["spec"]
    name = spec["rayClusterConfig"]["headGroupSpec"]["headService"]["metadata"]["name"]
    if name:
        yield Finding(name, "is refused: the operator names the head's service", "take it out")
    delay = spec["rayClusterDeletionDelaySeconds"]
    if delay.whole is not None and delay.whole < 0:
        yield Finding(delay, f"{delay.whole} is less than no time", "write 0 or more")
    timeout = service["metadata"]["annotations"]["ray.io/initializing-timeout"]
    if timeout and not (_DURATION.fullmatch(timeout.text) and re.search("[1-9]", timeout.text)):
        yield Finding(timeout, f"{timeout.value!r} is no duration", "write such as 30m, or seconds")
    containers = spec["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]["containers"].items()
    ports = containers[0]["ports"] if containers else Field(None)
    if ports.items() and "serve" not in [port["name"].text for port in ports.items()]:
        yield Finding(ports, "no port is named serve: the service would have none", "add name: serve with 8000")


def _upgrade(service: Field) -> Iterator[Finding]:
    spec, strategy = service["spec"], service["spec"]["upgradeStrategy"]
    kind, options = strategy["type"], strategy["clusterUpgradeOptions"]
    known = ("NewCluster", "NewClusterWithIncrementalUpgrade", "None")
    if kind.is_set and kind.text not in known:
        yield Finding(kind, f"{kind.value!r} is no way to upgrade", f"write {', '.join(known)}")
    if kind.text != "NewClusterWithIncrementalUpgrade":
        return
    scaling = spec["rayClusterConfig"]["enableInTreeAutoscaling"]
    if scaling.value is not True:
        yield Finding(scaling, "an incremental upgrade needs the autoscaler", "write true")
    surge, step, pause = (options[name] for name in ("maxSurgePercent", "stepSizePercent", "intervalSeconds"))
    most = surge.whole if surge.whole is not None else 100
    if not 0 <= most <= 100:
        yield Finding(surge, f"{most} is no percentage", "write 0 to 100")
    if step.whole is None or not 0 <= step.whole <= min(most, 100):
        yield Finding(step, f"{step.value} is not within 0 and maxSurgePercent {most}", "write at most maxSurgePercent")
    if pause.whole is None or pause.whole <= 0:
        yield Finding(pause, f"{pause.value} is no pause between steps", "write seconds, 1 or more")
    if not options["gatewayClassName"].text:
        yield Finding(options["gatewayClassName"], "is missing", "name a Gateway class of the cluster")


def _service_rule(name: str, refuses: str, check: Callable[[Field], Iterator[Finding]]) -> Rule:
    return Rule(name, "error", "RayService", refuses, of_kind("RayService"), check)


RULES = (
    _service_rule("serve-config", "serveConfigV2 that Ray Serve cannot read", _serve_config),
    _service_rule("service-settings", "a named head service, times that are none, no serve port", _service),
    _service_rule("service-upgrade", "ways to upgrade that are none or lack options", _upgrade),
)

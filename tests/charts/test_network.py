"""Who may talk to whom: every pod is denied everything first, and what works needs is let through."""

from __future__ import annotations

from typing import Any

import pytest

from chart_support import RENDERINGS, one, pods_of, rendered, rendering
from roadbed.kube.names import OUR_PODS

JOB = dict(OUR_PODS)


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """As Kubernetes does it, for the operators that are used here."""
    wanted = selector.get("matchLabels", {})
    for rule in selector.get("matchExpressions", []):
        is_in = labels.get(rule["key"]) in rule["values"]
        if is_in != (rule["operator"] == "In"):
            return False
    return all(labels.get(key) == value for key, value in wanted.items())


def policies_for(objects: tuple[dict[str, Any], ...], labels: dict[str, str]) -> list[dict[str, Any]]:
    specs = [obj["spec"] for obj in objects if obj["kind"] == "NetworkPolicy"]
    return [spec for spec in specs if selects(spec["podSelector"], labels)]


def ports(policies: list[dict[str, Any]], way: str) -> set[int]:
    rules = [rule for policy in policies for rule in policy.get(way, [])]
    return {port["port"] for rule in rules for port in rule.get("ports", [])}


@pytest.mark.parametrize("name", RENDERINGS)
def test_every_pod_is_denied_first(name: str) -> None:
    objects = rendering(name)
    deny = one(objects, "NetworkPolicy", "-deny")["spec"]
    assert set(deny) == {"podSelector", "policyTypes"}
    assert deny["policyTypes"] == ["Ingress", "Egress"]
    for labels in (JOB, *(labels for obj in objects for labels, _ in pods_of(obj))):
        assert selects(deny["podSelector"], labels), labels


def with_ray(labels: dict[str, str], node: str) -> dict[str, str]:
    return labels | {"ray.io/node-type": node}


@pytest.fixture(scope="module")
def objects() -> tuple[dict[str, Any], ...]:
    return rendering("cpu.yaml")


@pytest.mark.parametrize("node", ["head", "worker"])
def test_a_job_reaches_names_and_the_store(objects: tuple[dict[str, Any], ...], node: str) -> None:
    policies = policies_for(objects, with_ray(JOB, node))
    assert {53, 443, 8333} <= ports(policies, "egress")
    assert {8265, 8000, 8080, 44217, 44227} <= ports(policies, "ingress")


def test_only_heads_and_submitters_reach_the_api_server(objects: tuple[dict[str, Any], ...]) -> None:
    assert 6443 in ports(policies_for(objects, with_ray(JOB, "head")), "egress")
    assert 6443 in ports(policies_for(objects, JOB), "egress")
    assert 6443 not in ports(policies_for(objects, with_ray(JOB, "worker")), "egress")


def test_pods_of_ray_reach_each_other_at_every_port(objects: tuple[dict[str, Any], ...]) -> None:
    """HAProxy reaches replicas directly, at ports of its own (30000-31000); so does nearly everything of Ray's."""
    (rule,) = one(objects, "NetworkPolicy", "-ray-job")["spec"]["ingress"]
    assert "ports" not in rule
    assert selects(rule["from"][0]["podSelector"], with_ray(JOB, "worker"))


def test_jobs_and_the_endpoint_do_not_reach_each_others_ray(objects: tuple[dict[str, Any], ...]) -> None:
    endpoint = JOB | {"app.kubernetes.io/component": "endpoint", "app.kubernetes.io/instance": "roadbed"}
    for labels, others in ((JOB, endpoint), (endpoint, JOB)):
        policies = policies_for(objects, with_ray(labels, "head"))
        for way, peers in (("ingress", "from"), ("egress", "to")):
            rules = [rule for policy in policies for rule in policy.get(way, []) if "ports" not in rule]
            assert rules
            pods = [peer["podSelector"] for rule in rules for peer in rule[peers]]
            assert all(selects(pod, with_ray(labels, "worker")) for pod in pods)
            assert not any(selects(pod, with_ray(others, "worker")) for pod in pods)


def test_the_exporter_is_scraped_and_reads_the_store_and_no_more(objects: tuple[dict[str, Any], ...]) -> None:
    ((labels, _),) = list(pods_of(one(objects, "Deployment")))
    policies = policies_for(objects, labels)
    assert ports(policies, "egress") == {53, 443, 8333}
    sources = [rule["from"] for policy in policies for rule in policy.get("ingress", [])]
    assert sources == [[{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]]


def test_callers_are_those_that_the_values_name(objects: tuple[dict[str, Any], ...]) -> None:
    rule, test = one(objects, "NetworkPolicy", "-clients")["spec"]["ingress"]
    assert rule["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}}}]
    assert rule["ports"] == test["ports"] == [{"protocol": "TCP", "port": 8000}]


def test_the_pod_of_helm_test_reaches_the_endpoint_whoever_else_may(objects: tuple[dict[str, Any], ...]) -> None:
    ((labels, _),) = pods_of(one(objects, "Pod"))
    rules = one(objects, "NetworkPolicy", "-clients")["spec"]["ingress"]
    peers = [peer.get("podSelector") for rule in rules for peer in rule["from"]]
    assert any(selects(peer, labels) for peer in peers if peer)
    assert len(one(rendered((), "test.enabled=false"), "NetworkPolicy", "-clients")["spec"]["ingress"]) == 1


def test_the_store_for_trials_lets_s3_in_and_nothing_out() -> None:
    objects = rendering("kind.yaml")
    ((labels, _),) = list(pods_of(one(objects, "StatefulSet")))
    policies = policies_for(objects, labels)
    assert ports(policies, "ingress") == {8333}
    assert ports(policies, "egress") == {53}
    assert 8333 in ports(policies_for(objects, with_ray(JOB, "worker")), "egress")


def test_the_store_for_trials_has_its_policy_in_any_case() -> None:
    """Its other ports know no keys."""
    objects = rendered((), "objectStore.embedded.enabled=true,networkPolicies.enabled=false")
    (policy,) = [obj for obj in objects if obj["kind"] == "NetworkPolicy"]
    ((labels, _),) = list(pods_of(one(objects, "StatefulSet")))
    assert selects(policy["spec"]["podSelector"], labels)
    assert ports([policy["spec"]], "ingress") == {8333}


@pytest.mark.parametrize(
    ("url", "port"), [("https://s3.internal", 443), ("http://s3.internal/", 80), ("http://s3.internal:9000", 9000)]
)
def test_the_port_of_the_stores_url_is_let_through(url: str, port: int) -> None:
    objects = rendered((), f"store.endpointUrl={url}")
    assert port in ports(policies_for(objects, JOB), "egress")


def test_credentials_of_the_node_are_reached_where_the_values_say_so() -> None:
    def addresses(name: str) -> set[str]:
        rules = one(rendering(name), "NetworkPolicy", "-store-client")["spec"]["egress"]
        return {peer["ipBlock"]["cidr"] for rule in rules for peer in rule.get("to", []) if "ipBlock" in peer}

    assert "169.254.169.254/32" in addresses("gke-gpu.yaml")
    assert "169.254.169.254/32" not in addresses("cpu.yaml")


@pytest.mark.parametrize(("workers", "replicas", "kept"), [(1, 1, 0), (2, 2, 1), (4, 4, 3), (4, 1, 0), (2, 4, 1)])
def test_disruption_budgets_are_integers(workers: int, replicas: int, kept: int) -> None:
    """A worker's pod without a replica is never ready: counted, it would keep nodes from being drained for ever."""
    sizes = f"endpoint.workers.min={workers},endpoint.workers.max=8,endpoint.serve.replicas.min={replicas}"
    objects = rendered((), sizes)
    budget = one(objects, "PodDisruptionBudget", "-workers")["spec"]
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert (budget["minAvailable"], one(objects, "PodDisruptionBudget", "-head")["spec"]["minAvailable"]) == (kept, 1)
    for group, labels in zip(
        ("head", "worker"), (labels for labels, _ in pods_of(one(objects, "RayService"))), strict=True
    ):
        budgets = [obj for obj in objects if obj["kind"] == "PodDisruptionBudget"]
        found = [obj for obj in budgets if selects(obj["spec"]["selector"], with_ray(labels, group))]
        assert len(found) == 1

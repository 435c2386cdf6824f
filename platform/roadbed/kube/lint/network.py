"""Rules on network policies: pods that may reach others, and cannot ask DNS for their addresses.

What a pod may reach is the sum of all policies that select it, so that DNS may be let through by another one.
Source: https://kubernetes.io/docs/concepts/services-networking/network-policies/
"""

from __future__ import annotations

from collections.abc import Iterator

from roadbed.kube.lint.fields import Field
from roadbed.kube.lint.rule import Everything, Finding, Rule, everything

_Requirement = tuple[str, str, frozenset[str]]


def _dns(everything: Everything) -> Iterator[Finding]:
    policies = everything.of_kind("NetworkPolicy")
    for policy in policies:
        egress = policy["spec"]["egress"]
        covering = [other for other in policies if _covers(other, policy)]
        # What may reach nobody needs no names.
        if egress.items() and not any(
            _lets_dns(rule) for other in covering for rule in other["spec"]["egress"].items()
        ):
            text = "the pods cannot ask DNS: every connection by name fails"
            yield Finding(egress, text, "allow UDP and TCP 53 to kube-system, here or in a policy for the same pods")


def _covers(other: Field, policy: Field) -> bool:
    """Whether `other` selects all pods that `policy` selects, as far as the selectors say it."""
    if other["metadata"]["namespace"].text != policy["metadata"]["namespace"].text:
        return False
    ours = _requirements(policy["spec"]["podSelector"])
    theirs = _requirements(other["spec"]["podSelector"])
    return all(any(_implies(our, their) for our in ours) for their in theirs)


def _requirements(selector: Field) -> list[_Requirement]:
    """(label, operator, values) of everything that a selector asks for; empty: it takes every pod."""
    exact = [(name, "In", frozenset({value})) for name, value in selector["matchLabels"].labels.items()]
    asked = selector["matchExpressions"].items()
    return exact + [
        (one["key"].text, one["operator"].text, frozenset(value.text for value in one["values"].items()))
        for one in asked
    ]


def _implies(our: _Requirement, their: _Requirement) -> bool:
    """Whether every pod that meets `our` meets `their`."""
    if our == their:
        return True
    (label, operator, values), (their_label, their_operator, their_values) = our, their
    if label != their_label or operator != "In":
        return False
    if their_operator == "In":
        return values <= their_values
    return their_operator == "Exists" or (their_operator == "NotIn" and not values & their_values)


def _lets_dns(rule: Field) -> bool:
    if rule["ports"].items():
        return any(_is_dns(port) for port in rule["ports"].items())
    peers = rule["to"].items()
    return not peers or any(peer["namespaceSelector"].is_set or _is_anywhere(peer) for peer in peers)


def _is_anywhere(peer: Field) -> bool:
    return peer["ipBlock"]["cidr"].text in ("0.0.0.0/0", "::/0")


def _is_dns(port: Field) -> bool:
    first, last = port["port"], port["endPort"].whole
    if first.whole is not None and last is not None:
        return first.whole <= 53 <= last
    return not first.is_set or first.value in (53, "53", "dns", "domain")


RULES = (Rule("policy-dns", "error", "NetworkPolicy", "pods that may reach others and not DNS", everything, _dns),)

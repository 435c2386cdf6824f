"""What is wrong with Kubernetes objects before anybody sees them: what KubeRay's operator and the API server refuse,
and what never works. Offline; `roadbed lint` prints it, `roadbed submit` asks before it sends anything.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from roadbed.kube.lint import kueue, pods, rayclusters, rayjobs, rayservices, security
from roadbed.kube.lint import objects as any_objects
from roadbed.kube.lint.fields import Field
from roadbed.kube.lint.rule import Everything, Rule, Severity
from roadbed.kube.schemas import Schemas

RULES: tuple[Rule, ...] = (
    *any_objects.RULES,
    *rayjobs.RULES,
    *rayservices.RULES,
    *rayclusters.RULES,
    *kueue.RULES,
    *pods.RULES,
    *security.RULES,
)
SCHEMA_RULE = "schema"


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with an object: `number` is its place among those that were looked at."""

    rule: str
    severity: Severity
    object: str
    path: str
    problem: str
    fix: str
    number: int

    def __str__(self) -> str:
        return f"{self.path or 'the object'}: {self.problem}; {self.fix} ({self.severity}, {self.rule})"

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def faults(
    objects: Sequence[Any], *, schemas: Schemas | None = None, secrets: Collection[str] | None = None
) -> list[Fault]:
    """All faults of the objects (what their YAML holds), in the order of the objects, errors first.

    `schemas` are the CRDs to check against, if there are any; `secrets` the names of the secrets that the namespace
    has, if that is known.
    """
    looked_at = [Field(obj, number=number) for number, obj in enumerate(objects)]
    everything = Everything(looked_at, None if secrets is None else frozenset(secrets))
    found = [fault for rule in RULES for fault in _of_rule(rule, everything)]
    places = {(fault.number, fault.path) for fault in found}
    for field in looked_at if schemas else []:
        assert schemas is not None
        for fault in schemas.faults(field.value):
            if (field.number, fault.path) not in places:  # A rule says the same, and why.
                found.append(
                    Fault(SCHEMA_RULE, "error", name_of(field), fault.path, fault.problem, fault.fix, field.number)
                )
    return sorted(found, key=lambda fault: (fault.number, fault.severity))


def name_of(obj: Field) -> str:
    """KIND/NAME, for messages."""
    return f"{obj['kind'].text or 'object'}/{obj['metadata']['name'].text or '?'}"


def _of_rule(rule: Rule, everything: Everything) -> list[Fault]:
    found = []
    for subject in rule.subjects(everything):
        for finding in rule.check(subject):
            field = finding.field
            name = name_of(everything.objects[field.number])
            fault = Fault(rule.id, rule.severity, name, field.path, finding.problem, finding.fix, field.number)
            if fault not in found:
                found.append(fault)
    return found

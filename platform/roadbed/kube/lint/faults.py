"""All rules in one table, and the faults that they and the schemas find. Pure: nothing is read here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from roadbed.errors import UsageError
from roadbed.kube.lint import kueue, network, objects, pods, rayclusters, rayjobs, rayservices, security
from roadbed.kube.lint.fields import Field
from roadbed.kube.lint.reading import Written
from roadbed.kube.lint.rule import Everything, Rule, Severity
from roadbed.kube.schemas import Schemas

RULES: tuple[Rule, ...] = (
    *objects.RULES,
    *rayjobs.RULES,
    *rayservices.RULES,
    *rayclusters.RULES,
    *kueue.RULES,
    *network.RULES,
    *pods.RULES,
    *security.RULES,
)
# What is found elsewhere than by a function of the table: id, what it refuses.
OTHER_RULES = {
    "schema": "what the CRD's schema refuses: unknown fields, types, missing fields, CEL rules (with --crds)",
    "spec": "a job spec that is not valid, or does not fit its profile",
    "duplicate-key": "keys that stand in a YAML mapping twice",
}


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong. `number` is the object's place among those looked at, `source` where it is written."""

    rule: str
    severity: Severity
    object: str
    path: str
    problem: str
    fix: str
    number: int = 0
    source: str = ""

    def __str__(self) -> str:
        """One line, without source and object."""
        return f"{self.path}: {self.problem}; {self.fix} [{self.rule}]".removeprefix(": ")

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
        # Where a rule has said it already, it has said why.
        found += [fault for fault in _of_schema(schemas, field) if (fault.number, fault.path) not in places]
    return sorted(found, key=lambda fault: (fault.number, fault.severity))


def faults_of(
    written: Sequence[Written], *, schemas: Schemas | None = None, secrets: Collection[str] | None = None
) -> list[Fault]:
    """As `faults`, of objects with the places where they are written; keys that are given twice are faults too."""
    found = faults([one.obj for one in written], schemas=schemas, secrets=secrets)
    for number, one in enumerate(written):
        name = name_of(Field(one.obj))
        for path in one.duplicates:
            text, fix = "the key stands here twice, and the last one wins", "take one out"
            found.append(Fault("duplicate-key", "error", name, path, text, fix, number))
    found = [replace(fault, source=written[fault.number].source) for fault in found]
    return sorted(found, key=lambda fault: (fault.number, fault.severity))


def refuse_faults(objects: Sequence[Any], *, schemas: Schemas | None = None, notify: Callable[[str], None]) -> None:
    """For what is about to be sent: warnings are told to `notify`, a line each.

    Raises UsageError that lists every error, with object, path and remedy.
    """
    found = faults(objects, schemas=schemas)
    lines = [f"{fault.object}: {fault}" for fault in found if fault.severity == "error"]
    if lines:
        raise UsageError("\n".join(["a cluster would refuse this:", *lines]))
    for fault in found:
        notify(f"warning: {fault.object}: {fault}")


def name_of(obj: Field) -> str:
    """KIND/NAME, for messages."""
    return f"{obj['kind'].text or 'object'}/{obj['metadata']['name'].text or '?'}"


def _of_rule(rule: Rule, everything: Everything) -> list[Fault]:
    found: list[Fault] = []
    for subject in rule.subjects(everything):
        for finding in rule.check(subject):
            field = finding.field
            name = name_of(everything.objects[field.number])
            fault = Fault(rule.id, rule.severity, name, field.path, finding.problem, finding.fix, field.number)
            if fault not in found:  # Containers share what the pod says.
                found.append(fault)
    return found


def _of_schema(schemas: Schemas | None, field: Field) -> Iterable[Fault]:
    for fault in schemas.faults(field.value) if schemas else []:
        yield Fault("schema", "error", name_of(field), fault.path, fault.problem, fault.fix, field.number)

"""Validation of Kubernetes objects against the schemas of CustomResourceDefinitions, offline and as strict as the API
server with `--validate=strict`: unknown fields and duplicates are refused, defaults are filled in, CEL rules evaluated.

Reads the CRDs of a folder (as KubeRay, Kueue and the Prometheus operator release them, or `kubectl get crd -o yaml`).
Kinds that no CRD of the folder defines are not checked: those of Kubernetes itself among them.

Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""

from __future__ import annotations

import copy
import difflib
import importlib.util
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from roadbed.errors import UsageError

# What the API server checks of the value of a single node; fields and items are walked here.
_VALUE_WORDS = (
    *("enum", "pattern", "required", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems"),
    *("minProperties", "maxProperties", "uniqueItems", "multipleOf", "anyOf", "allOf", "oneOf", "not"),
)
_IDENTITY = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}}
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class SchemaFault:
    """One thing that the API server would refuse. `path` is dotted, with `[index]` for items."""

    path: str
    problem: str
    fix: str


@dataclass(frozen=True)
class _Node:
    """A value, what the schema says of it, and where it stands."""

    value: Any
    schema: dict[str, Any]
    path: str


class Schemas:
    """The CRDs of a folder. A file is parsed when an object of its kind is asked for (KubeRay's have a megabyte each).

    Raises UsageError if the folder holds no YAML file.
    """

    def __init__(self, folder: Path):
        files = sorted(path for path in folder.rglob("*") if path.suffix in (".yaml", ".yml", ".json"))
        if not files:
            raise UsageError(f"{folder}: no CRD schemas (*.yaml); `kubectl get crd -o yaml > {folder}/crds.yaml`")
        self._texts = {path: path.read_text(encoding="utf-8") for path in files}
        self._documents: dict[Path, list[dict[str, Any]]] = {}

    def versions(self, group: str, kind: str) -> dict[str, dict[str, Any]]:
        """The schema of each served version of a kind; empty if no CRD of the folder defines it."""
        for path, text in self._texts.items():
            if not re.search(rf"\bkind\"?: \"?{re.escape(kind)}\b", text) or group not in text:
                continue
            for crd in self._definitions(path):
                spec = crd.get("spec", {})
                if spec.get("group") == group and spec.get("names", {}).get("kind") == kind:
                    return {
                        version["name"]: version["schema"]["openAPIV3Schema"]
                        for version in spec["versions"]
                        if version.get("served", True)
                    }
        return {}

    def unknown(self, objects: Iterable[Any]) -> list[str]:
        """GROUP/KIND of the custom resources among the objects that no CRD of the folder defines, sorted."""
        kinds = {_identity(obj)[:2] for obj in objects}
        return sorted(
            f"{group}/{kind}" for group, kind in kinds if _is_custom(group) and not self.versions(group, kind)
        )

    def faults(self, obj: Any) -> list[SchemaFault]:
        """Everything that the schema of its kind refuses; nothing for kinds that no CRD of the folder defines."""
        group, kind, version = _identity(obj)
        versions = self.versions(group, kind) if group and kind else {}
        if not versions:
            return []
        if version not in versions:
            known = ", ".join(f"{group}/{name}" for name in versions)
            return [SchemaFault("apiVersion", f"{kind} has no version {version!r}", f"write {known}")]
        return schema_faults(obj, versions[version])

    def _definitions(self, path: Path) -> list[dict[str, Any]]:
        if path not in self._documents:
            try:
                documents = list(yaml.load_all(self._texts[path], _LOADER))
            except yaml.YAMLError as error:
                raise UsageError(f"{path}: not YAML: {error}") from None
            lists = [doc.get("items", [doc]) for doc in documents if isinstance(doc, dict)]
            crds = [doc for docs in lists for doc in docs if isinstance(doc, dict)]
            self._documents[path] = [doc for doc in crds if doc.get("kind") == "CustomResourceDefinition"]
        return self._documents[path]


def schema_faults(obj: Any, schema: dict[str, Any]) -> list[SchemaFault]:
    """Everything in `obj` that a structural schema (`openAPIV3Schema`) refuses, in the order of the object's fields."""
    whole = with_defaults(obj, schema)
    root = {**schema, "properties": {**schema.get("properties", {}), **_IDENTITY}}
    # The API server checks metadata of the object by itself.
    root["properties"]["metadata"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    faults: list[SchemaFault] = []
    for node in _walk(_Node(whole, root, "")):
        wrong_type = list(_type_faults(node))
        faults += wrong_type
        if not wrong_type and node.value is not None:
            for check in (_unknown_fields, _value_faults, _duplicates, _broken_rules):
                faults += check(node)
    return faults


def has_cel() -> bool:
    """Whether a CEL library is installed (common-expression-language); without, CEL rules are not evaluated."""
    return importlib.util.find_spec("cel") is not None


def with_defaults(value: Any, schema: dict[str, Any]) -> Any:
    """The value as the API server completes it: defaults of the schema where fields are missing, or null and may not.

    The value given is left as it is.
    """
    if isinstance(value, dict):
        filled = dict(value)
        for name, field in schema.get("properties", {}).items():
            is_missing = name not in filled or (filled[name] is None and not field.get("nullable"))
            if is_missing and "default" in field:
                filled[name] = copy.deepcopy(field["default"])
        return {name: with_defaults(item, _field(schema, name) or {}) for name, item in filled.items()}
    if isinstance(value, list):
        return [with_defaults(item, schema.get("items", {})) for item in value]
    return value


def _is_custom(group: str) -> bool:
    """Whether a group of the API is no part of Kubernetes."""
    return "." in group and (not group.endswith(".k8s.io") or group == "gateway.networking.k8s.io")


def _identity(obj: Any) -> tuple[str, str, str]:
    """Group, kind and version; empty texts where they are none."""
    if not isinstance(obj, dict):
        return "", "", ""
    group, _, version = str(obj.get("apiVersion") or "").rpartition("/")
    return group, str(obj.get("kind") or ""), version


def _walk(node: _Node) -> Iterator[_Node]:
    yield node
    if isinstance(node.value, dict):
        for name, value in node.value.items():
            field = _field(node.schema, name)
            if field is not None:
                yield from _walk(_Node(value, field, child_path(node.path, name)))
    if isinstance(node.value, list) and isinstance(node.schema.get("items"), dict):
        for index, value in enumerate(node.value):
            yield from _walk(_Node(value, node.schema["items"], f"{node.path}[{index}]"))


def child_path(path: str, name: Any) -> str:
    """The path of a field: dotted, in brackets where its own name has dots or slashes."""
    if re.fullmatch(r"[\w-]+", str(name)):
        return f"{path}.{name}" if path else str(name)
    return f"{path}[{name}]"


def _field(schema: dict[str, Any], name: Any) -> dict[str, Any] | None:
    """The schema of a field, None if it has none."""
    field = schema.get("properties", {}).get(name)
    if field is None and isinstance(schema.get("additionalProperties"), dict):
        field = schema["additionalProperties"]
    return field if isinstance(field, dict) else None


def _type_faults(node: _Node) -> Iterator[SchemaFault]:
    value, schema = node.value, node.schema
    if value is None:
        if not schema.get("nullable") and ("type" in schema or schema.get("x-kubernetes-int-or-string")):
            wanted = schema.get("type", "number or text")
            yield SchemaFault(node.path, f"is null, and must be of type {wanted}", "give it a value, or leave it out")
        return
    if schema.get("x-kubernetes-int-or-string"):
        if isinstance(value, bool) or not isinstance(value, int | str):
            yield SchemaFault(node.path, f"{shown(value)} is neither a whole number nor text", _quoting(value))
    elif "type" in schema and not jsonschema.Draft202012Validator({"type": schema["type"]}).is_valid(value):
        wanted = schema["type"]
        fix = _quoting(value) if wanted == "string" else f"write a value of type {wanted}"
        yield SchemaFault(node.path, f"{shown(value)} is not of type {wanted}", fix)


def _quoting(value: Any) -> str:
    if isinstance(value, bool):
        value = str(value).lower()
    return f'write it in quotes: "{value}"' if isinstance(value, int | float | str) else "write text"


def _unknown_fields(node: _Node) -> Iterator[SchemaFault]:
    schema = node.schema
    if not isinstance(node.value, dict) or schema.get("x-kubernetes-preserve-unknown-fields"):
        return
    known = list(schema.get("properties", {}))
    if schema.get("x-kubernetes-embedded-resource"):
        known += ["apiVersion", "kind", "metadata"]
    for name in node.value:
        if name in known or schema.get("additionalProperties"):
            continue
        near = difflib.get_close_matches(str(name), known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are: {_enumerated(known)}"
        yield SchemaFault(child_path(node.path, name), f"{kind_of(node.path)} has no field {name}", hint)


def kind_of(path: str) -> str:
    """A name for what stands at a path, for messages."""
    return path.rpartition(".")[2] or "the object"


def _enumerated(names: list[str], most: int = 12) -> str:
    if not names:
        return "none"
    return ", ".join(names[:most]) + (f", ... ({len(names)} in all)" if len(names) > most else "")


def _value_faults(node: _Node) -> Iterator[SchemaFault]:
    words = {word: node.schema[word] for word in _VALUE_WORDS if word in node.schema}
    if node.schema.get("x-kubernetes-int-or-string"):
        words.pop("anyOf", None)  # Says again: whole number or text.
    if not words:
        return
    for word, old in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if node.schema.get(word) is True:  # As in OpenAPI 3.0: the bound itself is excluded.
            words[word] = words.pop(old)
    for error in jsonschema.Draft202012Validator(words).iter_errors(node.value):
        yield _value_fault(node, error)


def _value_fault(node: _Node, error: Any) -> SchemaFault:
    path = node.path
    for part in error.absolute_path:
        path = f"{path}[{part}]" if isinstance(part, int) else child_path(path, part)
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        return SchemaFault(child_path(path, missing), "is missing", f"give {kind_of(path)} the field {missing}")
    if error.validator == "enum":
        choices = [str(choice) for choice in error.validator_value]
        near = difflib.get_close_matches(str(error.instance), choices, n=1)
        hint = f"did you mean {near[0]}?" if near else f"write one of: {_enumerated(choices)}"
        return SchemaFault(path, f"{shown(error.instance)} is not possible", hint)
    words = f"{error.validator} {shown(error.validator_value)}"
    return SchemaFault(path, f"{shown(error.instance)} breaks {words}", f"write a value that keeps {words}")


def _duplicates(node: _Node) -> Iterator[SchemaFault]:
    """Items that a list of type `map` or `set` holds twice."""
    kind = node.schema.get("x-kubernetes-list-type")
    if not isinstance(node.value, list) or kind not in ("map", "set"):
        return
    names = node.schema.get("x-kubernetes-list-map-keys", []) if kind == "map" else []
    seen: list[Any] = []
    for index, item in enumerate(node.value):
        key = {name: item.get(name) for name in names} if isinstance(item, dict) and names else item
        if key in seen:
            path = f"{node.path}[{index}]"
            yield SchemaFault(path, f"{shown(key)} stands in the list twice", "take one of the two out")
        seen.append(key)


def _broken_rules(node: _Node) -> Iterator[SchemaFault]:
    """CEL rules that do not hold. Rules on changes (`oldSelf`) and functions of Kubernetes alone are left out."""
    rules = node.schema.get("x-kubernetes-validations") or []
    if not rules or not has_cel():
        return
    cel = importlib.import_module("cel")
    for rule in rules:
        if "oldSelf" in rule["rule"]:
            continue
        try:
            holds, why = bool(cel.evaluate(rule["rule"], {"self": node.value})), ""
        except KeyError as error:
            holds, why = False, f" (no field {error})"
        except (RuntimeError, TypeError, ValueError):  # A function that only the API server has.
            continue
        if not holds:
            said = " ".join(rule.get("message", "a rule of the schema is broken").split())
            yield SchemaFault(node.path, f"{said}{why}", f"make this hold: {' '.join(rule['rule'].split())}")


def shown(value: Any, most: int = 60) -> str:
    """A value for a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= most else f"{text[: most - 3]}..."

"""Manifests as YAML for people and for kubectl: nothing by reference, texts of several lines as they are read."""

from __future__ import annotations

from typing import Any

import yaml


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        """What occurs twice is written twice."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def as_yaml(manifest: dict[str, Any]) -> str:
    """One YAML document, its keys in their order."""
    return str(yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, width=120))

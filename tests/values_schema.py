"""The parts of the chart's values.schema.json that are spec classes: `python tests/values_schema.py` writes them.

`endpoint.serve` is the `serve` section of a job spec, `profiles.NAME` a profile and `retraining.NAME.job` a job of kind
train or tune; their keys, limits and words come from there. The rest of the file is written by hand.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from roadbed.kube.profile import Profile
from roadbed.spec import TrainJob, TuneJob
from roadbed.spec.serve import ServeSpec

SCHEMA_PATH = Path(__file__).parents[1] / "helm" / "roadbed" / "values.schema.json"


def spec_definitions() -> dict[str, Any]:
    """Definitions by name. The chart fills in what a profile leaves out, so no key of it is required.

    Two classes read shorter forms than pydantic knows to describe: a number of workers, and how a key is searched.
    """
    definitions: dict[str, Any] = {}
    for section in (ServeSpec, Profile, TrainJob, TuneJob):
        schema = section.model_json_schema()
        definitions |= schema.pop("$defs", {})
        definitions[section.__name__] = schema
    definitions["Profile"].pop("required")
    definitions["NumWorkers"] = {"anyOf": [{"type": "integer", "minimum": 1}, definitions["NumWorkers"]]}
    definitions["Dimension"] = {"type": "object", "minProperties": 1, "additionalProperties": {}}
    return definitions


if __name__ == "__main__":
    written = json.loads(SCHEMA_PATH.read_text())
    written["$defs"] |= spec_definitions()
    SCHEMA_PATH.write_text(json.dumps(written, indent=2) + "\n")

"""The `output` section: where runs and versions go, and what is kept."""

from __future__ import annotations

from pydantic import Field

from roadbed.spec.base import Section, StoreUri


class OutputSpec(Section):
    """The root of durable state in the object store."""

    store: StoreUri = Field("s3://roadbed", description="root prefix: runs lie under runs/, models under models/")
    register_as: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="registry name under which the best checkpoint becomes a version",
    )
    checkpoint_steps: int = Field(
        200, ge=1, description="a checkpoint after every so many steps, and after every epoch"
    )
    keep_last: int = Field(2, ge=1, description="newest checkpoints kept (the best is kept besides)")
    record_samples: bool = Field(False, description="write the sample keys of every step beside the metrics")

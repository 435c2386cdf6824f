"""A job spec as it is meant on a cluster: the profile's store in place of the laptop's, and nothing of this machine."""

from __future__ import annotations

from pathlib import Path

from roadbed.errors import UsageError
from roadbed.kube.profile import Profile
from roadbed.kube.sizes import ClusterJob
from roadbed.spec import OutputSpec

DEFAULT_ROOT: str = OutputSpec().store


def rooted(job: ClusterJob, profile: Profile) -> ClusterJob:
    """The job with every uri under s3://roadbed put under the profile's `store.uri`, if that says so.

    Raises UsageError for a store, a dataset or weights that only this machine has.
    """
    root = profile.store.uri.rstrip("/") or DEFAULT_ROOT
    uris = {"output.store": job.output.store, "data.uri": job.data.uri, "model.weights": job.model.weights}
    for key, uri in uris.items():
        if uri.startswith("file://") or uri.startswith("/") or (key == "model.weights" and Path(uri).is_file()):
            raise UsageError(
                f"{key}: {uri} lies on this machine, where no pod sees it; copy it into an object store and name it "
                f"s3://BUCKET/..., as with --set {key}=s3://BUCKET/..."
            )
    return job.model_copy(
        update={
            "output": job.output.model_copy(update={"store": _moved(job.output.store, root)}),
            "data": job.data.model_copy(update={"uri": _moved(job.data.uri, root)}),
            "model": job.model.model_copy(update={"weights": _moved(job.model.weights, root)}),
        }
    )


def _moved(uri: str, root: str) -> str:
    if uri == DEFAULT_ROOT or uri.startswith(f"{DEFAULT_ROOT}/"):
        return root + uri.removeprefix(DEFAULT_ROOT)
    return uri

"""A job sent to a Ray cluster that has no Kubernetes, by Ray's own Jobs API.

The head's machine has roadbed installed, and its environment leads to the store. The spec travels as a file of the
job's working folder.
"""

from __future__ import annotations

import logging
import re
import tempfile
from pathlib import Path

from roadbed.errors import RoadbedError, UsageError
from roadbed.runtime.local.variables import variables_set
from roadbed.runtime.session import last_line, read_environment_anew
from roadbed.spec import TrainJob, TuneJob, dump_job

SPEC_FILE = "job.yaml"
WAIT_S = 420
# Ray takes what these name in place of the address that it is given.
_NO_OTHER_RAY: dict[str, str | None] = {"RAY_ADDRESS": None, "RAY_API_SERVER_ADDRESS": None}


def submit_to_ray(job: TrainJob | TuneJob, address: str, *, submission: str) -> str:
    """Send a job to the Ray at `address` (http://HOST:8265); the id by which Ray knows it.

    Its token is that of RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH, with RAY_AUTH_MODE=token. Raises RoadbedError if Ray
    cannot be reached or refuses, UsageError for an address of another form.
    """
    if not re.fullmatch(r"https?://[^/\s]+/?", address):
        raise UsageError(f"--ray-address {address}: expected the address of Ray's dashboard, http://HOST:8265")
    if job.output.store.startswith("file://"):
        logging.getLogger(__name__).warning("store=%s must lie on a disk that all machines share", job.output.store)
    from ray.exceptions import RayError
    from ray.job_submission import JobSubmissionClient

    read_environment_anew()
    try:
        with tempfile.TemporaryDirectory(prefix="roadbed-submit-") as folder, variables_set(_NO_OTHER_RAY):
            (Path(folder) / SPEC_FILE).write_text(dump_job(job), encoding="utf-8")
            client = JobSubmissionClient(address)
            return str(
                client.submit_job(
                    entrypoint=f"roadbed {job.kind} {SPEC_FILE} --submission {submission} --wait-s {WAIT_S}",
                    submission_id=f"{job.name}-{submission}",
                    runtime_env={"working_dir": folder},
                    metadata={"run": job.name, "kind": job.kind},
                )
            )
    except (OSError, RuntimeError, ValueError, RayError) as error:
        raise RoadbedError(
            f"Ray at {address} cannot be reached, or refuses: {last_line(error)}; check the address, and its token in "
            "RAY_AUTH_TOKEN with RAY_AUTH_MODE=token"
        ) from error

"""A run whose cluster grows, and loses a node after a notice: real Ray nodes that come and go, on this machine."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from drivers import driving, ids_of, losses_of
from fault_proxy import proxied
from faults import late
from roadbed.runs import Run
from roadbed.runtime import local
from roadbed.spec import TrainJob
from roadbed.storage import open_store
from roadbed.training.attempt import Outcome, run_attempt
from roadbed.training.group import Group
from support import blocks_dataset, blocks_job

pytestmark = [pytest.mark.s3, pytest.mark.ray, pytest.mark.soak]

ROOT_URI = "s3://roadbed/elastic"
NOTICE_S = 8
SLOW_S, LESS_SLOW_S = 1.0, 0.3


class Nodes:
    """A Ray cluster of `ray.cluster_utils`, apart from every other, whose head takes no workers."""

    def __init__(self, folder: Path) -> None:
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "node_ip_address": "127.0.0.1", "temp_dir": str(folder), "include_dashboard": False}
        self._cluster = Cluster(initialize_head=True, head_node_args=head, shutdown_at_exit=False)
        self.address = self._cluster.address

    def add(self) -> object:
        """A node with room for one worker."""
        return self._cluster.add_node(num_cpus=1, node_ip_address="127.0.0.1")

    def drain(self, node: object, *, in_s: float) -> None:
        """Tell the cluster that a node goes soon, as a cloud does that wants its machine back."""
        from ray._raylet import GcsClient
        from ray.core.generated.autoscaler_pb2 import DrainNodeReason

        reason = DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
        deadline_ms = int((time.time() + in_s) * 1000)
        is_accepted, why_not = GcsClient(address=self.address).drain_node(node.node_id, reason, "test", deadline_ms)
        assert is_accepted, why_not

    def remove(self, node: object) -> None:
        """Kill all processes of a node."""
        self._cluster.remove_node(node, allow_graceful=False)

    def end(self) -> None:
        self._cluster.shutdown()


@pytest.fixture
def nodes(s3_server: object) -> Iterator[Nodes]:
    folder = Path(tempfile.mkdtemp(prefix="rb-", dir="/tmp"))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setenv("RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S", "1")
        patch.setenv("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "5")
        patch.setenv("RAY_TMPDIR", str(folder))
        (folder / "ray").mkdir()  # Where a Cluster writes its address down.
        nodes = Nodes(folder)
        patch.setenv("RAY_ADDRESS", nodes.address)
        try:
            yield nodes
        finally:
            nodes.end()
            shutil.rmtree(folder, ignore_errors=True)


def job(name: str, *overrides: str) -> TrainJob:
    settings = (
        "train.epochs=3",
        "model.backbone=timm:test_efficientnet",
        "train.learning_rate=0.01",
        "output.checkpoint_steps=4",
    )
    return blocks_job(ROOT_URI, *settings, *overrides, name=name)


def run_of(made: TrainJob) -> Run:
    return Run(open_store(made.output.store), made.name)


def test_a_run_grows_and_shrinks_with_its_cluster_and_heeds_a_notice(
    s3_server: local.LocalState, nodes: Nodes, tmp_path: Path
) -> None:
    blocks_dataset(f"{ROOT_URI}/blocks", train=62, val=11)
    unbroken = job("unbroken")
    torch.set_num_threads(1)
    assert run_attempt(unbroken, Group()) == Outcome("finished")

    elastic = job("elastic", "workers={num_workers: {min: 1, max: 2}, resize_s: 1, notice_s: 0.1}")
    first = nodes.add()
    assert s3_server.store is not None
    with proxied(s3_server.store.endpoint) as proxy:
        # Slow uploads hold the run back without work for the processor: a checkpoint waits for the one before.
        proxy.spoil_share("PUT", 1.0, faults=(late(SLOW_S),))
        with driving(elastic, tmp_path, environment={"AWS_ENDPOINT_URL": proxy.url}) as driver:
            driver.until_step(1)
            nodes.add()
            driver.until(lambda status: status.attempt == 2 and "loss" in status.progress, "a second worker")
            proxy.spoil_share("PUT", 1.0, faults=(late(LESS_SLOW_S),))
            nodes.drain(first, in_s=NOTICE_S)
            driver.until(lambda status: "notices" in status.progress, "a notice")
            time.sleep(NOTICE_S)
            nodes.remove(first)
            driver.until(lambda status: status.attempt == 3, "the worker that is left")
            proxy.heal()
            assert driver.wait() == 0, driver.said()

    run = run_of(elastic)
    claims = dict(run.attempts())
    assert [claim["num_workers"] for claim in claims.values()] == [1, 2, 1]
    (told,) = [line for line in run.lines("metrics") if "notice" in line]
    assert "goes at" in told["notice"]
    assert claims[3]["resumed_step"] >= told["step"]
    assert ids_of(elastic) == ids_of(unbroken)
    assert losses_of(elastic) == pytest.approx(losses_of(unbroken), rel=1e-3)
    scores = [
        [line["miou"] for line in run_of(made).lines("metrics") if "miou" in line] for made in (elastic, unbroken)
    ]
    assert scores[0] == pytest.approx(scores[1], abs=1e-3)

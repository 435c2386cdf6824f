"""The metrics of processes inside Ray: what they do while they live. Ray's agent adds `ray_` in front.

Each has the label `run` besides, the name of the run or of the endpoint; Ray adds the worker and its node.
"""

from __future__ import annotations

from collections.abc import Iterable

from roadbed.telemetry.metric import LONG_S, SHORT_S, Metric, check, table

METRICS: dict[str, Metric] = table(
    Metric("roadbed_train_loss", "gauge", "training loss of the last step, mean over labelled pixels"),
    Metric("roadbed_train_learning_rate", "gauge", "learning rate of the head"),
    Metric("roadbed_train_step", "gauge", "optimiser steps taken"),
    Metric("roadbed_train_epoch", "gauge", "epoch of the last step, from 0"),
    Metric("roadbed_train_gradient_norm", "gauge", "norm of all gradients before they are clipped; of every 20th step "
           "where they are not"),
    Metric("roadbed_train_images", "counter", "frames trained on"),
    Metric("roadbed_train_phase_seconds", "counter", "what the first worker spent its time with: start, data (waiting "
           "for its own), forward, backward (with the exchange of gradients), sync (waiting for other workers), "
           "checkpoint, evaluate, other", ("phase",)),
    Metric("roadbed_train_resumes", "counter", "attempts that went on from a checkpoint"),
    Metric("roadbed_train_failures", "counter", "attempts that failed, as the driver judged them", ("cause",)),
    Metric("roadbed_train_lost_steps", "counter", "steps that an attempt before had taken and this one took again"),
    Metric("roadbed_train_notices", "counter", "notices that a node of the run was about to be taken away"),
    Metric("roadbed_checkpoint_failures", "counter", "checkpoints that could not be written"),
    Metric("roadbed_checkpoint_bytes", "counter", "bytes of whole checkpoints written"),
    Metric("roadbed_checkpoint_write_seconds", "histogram", "time to write a checkpoint, beside the training", (),
           LONG_S),
    Metric("roadbed_eval_miou", "gauge", "mean intersection over union of the last evaluation, 0 to 1"),
    Metric("roadbed_eval_pixel_accuracy", "gauge", "share of labelled pixels that are right, 0 to 1"),
    Metric("roadbed_eval_class_iou", "gauge", "intersection over union of a class that occurs, 0 to 1", ("class",)),
    Metric("roadbed_data_skipped_samples", "counter", "damaged samples that training went without"),
    Metric("roadbed_data_shards", "counter", "shards that were read whole, from the store or this machine's cache",
           ("source",)),
    Metric("roadbed_data_ranges", "counter", "samples that were read from the store one by one"),
    Metric("roadbed_data_prefetched_batches", "gauge", "batches that are decoded and wait to be trained on"),
    Metric("roadbed_data_checksum_failures", "counter", "reads whose bytes were not what they should be",
           ("source",)),
    Metric("roadbed_store_requests", "counter", "requests sent to the store; place: of the dataset or of the run",
           ("place",)),
    Metric("roadbed_store_retries", "counter", "requests that repeated one that failed", ("place",)),
    Metric("roadbed_store_failures", "counter", "requests that were given up", ("place",)),
    Metric("roadbed_store_read_bytes", "counter", "bytes read from the store", ("place",)),
    Metric("roadbed_store_written_bytes", "counter", "bytes written to the store", ("place",)),
    Metric("roadbed_store_request_seconds", "histogram", "time from sending a request to its whole answer", ("place",),
           SHORT_S),
    Metric("roadbed_serve_requests", "counter", "requests for a segmentation, by the status of the answer", ("code",)),
    Metric("roadbed_serve_request_seconds", "histogram", "time of an answer, from the whole body to the last stage", (),
           SHORT_S),
    Metric("roadbed_serve_stage_seconds", "histogram", "time of an answer by stage: queue, decode, infer, encode",
           ("stage",), SHORT_S),
    Metric("roadbed_serve_pixels", "counter", "pixels of the frames that were answered"),
    Metric("roadbed_serve_waiting", "gauge", "requests that a replica holds, with the one at work"),
    Metric("roadbed_serve_max_replicas", "gauge", "replicas that the endpoint may have at most"),
    Metric("roadbed_serve_model_version", "gauge", "number of the version that a replica answers with"),
    Metric("roadbed_serve_swaps", "counter", "versions that a replica put in the place of the one before"),
    Metric("roadbed_serve_swap_failures", "counter", "attempts to take up a version that left the old one serving"),
    Metric("roadbed_serve_class_pixels", "counter", "pixels that were answered with a class; one of 64 is counted",
           ("class",)),
    Metric("roadbed_serve_training_share", "gauge", "share of a class among the pixels that the version learnt from, "
           "0 to 1", ("class",)),
    Metric("roadbed_serve_judged_frames", "counter", "answers whose confidence was looked at: a few a minute"),
    Metric("roadbed_serve_judged_confidence", "counter", "sum of their mean confidences, 0 to 1 each: the share of the "
           "class that was chosen"),
)  # fmt: skip


class NoMetrics:
    """A sink that keeps nothing but still refuses what the table does not have."""

    def set(self, name: str, value: float, *labels: str) -> None:
        """Check the name."""
        check(METRICS[name], "gauge", labels)

    def add(self, name: str, value: float, *labels: str) -> None:
        """Check the name."""
        check(METRICS[name], "counter", labels)

    def observe(self, name: str, values: Iterable[float], *labels: str) -> None:
        """Check the name."""
        check(METRICS[name], "histogram", labels)

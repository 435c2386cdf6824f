"""`roadbed data copy`."""

from __future__ import annotations

import json

import click

from roadbed.cli.completion import files
from roadbed.cli.store import connection


@click.command()
@click.argument("src", shell_complete=files)
@click.argument("dst", shell_complete=files)
@click.option("--replace", is_flag=True, help="Replace another dataset at DST once this one is there in full.")
@click.option("--trust-stores", is_flag=True, help="Let sizes, etags and server-side copies count without reading.")
@click.option("--threads", type=click.IntRange(1), default=4, show_default=True, help="Objects under way at a time.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def copy(src: str, dst: str, replace: bool, trust_stores: bool, threads: int, as_json: bool) -> None:
    """Copy the dataset SRC to DST, dataset.json last.

    Every object is checked by its sha256. Within one S3 the store copies by itself, and each copy is read once to check
    it. What is at DST already is read and kept if it is right: run it again after an interruption. Both are
    s3://BUCKET/PREFIX, file:///FOLDER or a folder.

    \b
    roadbed data copy s3://roadbed/datasets/camvid s3://team/datasets/camvid
    roadbed data copy s3://roadbed/datasets/camvid backup/camvid --threads 8
    """
    from roadbed.cli.progress import WorkProgress
    from roadbed.data.copy import copy_dataset
    from roadbed.storage import open_store

    with connection(src, dst), WorkProgress("copy") as bar:
        copied = copy_dataset(
            open_store(src),
            open_store(dst),
            replace=replace,
            trusts_stores=trust_stores,
            num_threads=threads,
            progress=bar.update,
        )
    dataset = copied.dataset
    if as_json:
        told = {name: getattr(copied, name) for name in ("is_new", "num_sent", "num_there", "bytes_sent")}
        click.echo(json.dumps({"uri": dataset.uri, "digest": dataset.digest} | told, indent=1))
        return
    if not copied.num_sent and not copied.is_new:
        click.echo(f"{dataset.uri}: is there already, digest {dataset.digest}")
        return
    kept = f", {copied.num_there} were there" if copied.num_there else ""
    sent = f"{copied.num_sent} objects of {copied.bytes_sent / 1e6:,.1f} MB copied{kept}"
    click.echo(f"{dataset.uri}: {sent}; digest {dataset.digest}")

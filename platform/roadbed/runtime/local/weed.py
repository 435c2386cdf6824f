"""The S3 server of a local folder: SeaweedFS's `weed mini`, which has master, volumes, filer and S3 in one process.

`weed mini` is ready in under a second where `weed server` takes eight, as its master does not wait for an election.
"""

from __future__ import annotations

import functools
import json
import os
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from roadbed.errors import RoadbedError
from roadbed.runtime.local.folder import write_private
from roadbed.runtime.local.processes import (
    LOOPBACK,
    are_free,
    find_program,
    free_ports,
    start,
    stop,
    wait_until,
    without_proxy,
)
from roadbed.runtime.local.state import BUCKET, REGION, StoreServer
from roadbed.runtime.local.variables import no_aws, variables_set

START_TIMEOUT_S = 60.0
STOP_GRACE_S = 6.0
_NUM_STARTS = 3
_PORT_FLAGS = (
    "s3.port",
    "s3.port.grpc",
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "admin.port",
    "admin.port.grpc",
)
_SOCKET_FOLDER = Path("/tmp")  # Fixed in weed: it opens a unix socket beside each port.
_DATA_IN_USE = "filer store open dir"  # What weed says when it does not get the lock on its database.
_PROBE_KEY = ".roadbed-ready"


def start_store(folder: Path, *, record: Callable[[StoreServer], None]) -> StoreServer:
    """Start weed on FOLDER/s3 and return once the bucket is there and can be written.

    `record` is told of the process as soon as there is one, so that it can be found whatever happens to this one.
    Ports and credentials are those of the last start if they are still free. Raises RoadbedError.
    """
    weed = find_program("weed", remedy="install it with `pip install 'roadbed[local]'`")
    identity = _identity(folder)
    ports = tuple(identity["ports"])
    for attempt in range(_NUM_STARTS):
        if attempt > 0 or not are_free(ports):
            ports = free_ports(len(_PORT_FLAGS))
        identity["ports"] = ports
        write_private(folder / "store.json", json.dumps(identity, indent=1) + "\n")
        server = _launch(weed, folder, identity)
        record(server)
        try:
            wait_until(
                functools.partial(_can_be_written, server),
                server.process,
                what="the S3 server (weed)",
                log=Path(server.log),
                timeout_s=START_TIMEOUT_S,
            )
        except RoadbedError as error:
            stop_store(server)
            if "address already in use" in str(error) and attempt + 1 < _NUM_STARTS:
                continue
            if _DATA_IN_USE in str(error):
                raise RoadbedError(
                    f"{folder}/s3: a server that {folder}/local.json does not know of works on these data; "
                    f"end it, or name another folder in ROADBED_LOCAL_DIR. {error}"
                ) from error
            raise
        except BaseException:
            stop_store(server)
            raise
        return server
    raise AssertionError("the last attempt returned or raised")


def stop_store(server: StoreServer) -> None:
    """End the server and wait for it; the data stay."""
    stop(server.process, grace_s=STOP_GRACE_S)
    for port in server.ports:
        for path in _SOCKET_FOLDER.glob(f"seaweedfs-*-{port}.sock"):
            with suppress(OSError):
                path.unlink()


def _identity(folder: Path) -> dict[str, Any]:
    """Ports and credentials of the folder's store, made up at its first start."""
    path = folder / "store.json"
    with suppress(FileNotFoundError, ValueError, TypeError, KeyError):
        identity = json.loads(path.read_text())
        if {"access_key", "secret_key"} <= set(identity) and len(identity["ports"]) == len(_PORT_FLAGS):
            return dict(identity)
    return {
        "access_key": secrets.token_hex(10).upper(),
        "secret_key": secrets.token_urlsafe(30),
        "ports": free_ports(len(_PORT_FLAGS)),
    }


def _launch(weed: str, folder: Path, identity: Mapping[str, Any]) -> StoreServer:
    data, config, log = folder / "s3", folder / "s3-identities.json", folder / "logs" / "weed.log"
    keys = {"accessKey": identity["access_key"], "secretKey": identity["secret_key"]}
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    identities = {"identities": [{"name": "roadbed", "credentials": [keys], "actions": actions}]}
    write_private(config, json.dumps(identities, indent=1) + "\n")
    ports = dict(zip(_PORT_FLAGS, identity["ports"], strict=True))
    command = [
        weed,
        "-logtostderr",
        "mini",
        f"-dir={data}",
        f"-ip={LOOPBACK}",
        f"-ip.bind={LOOPBACK}",
        *(f"-{flag}={port}" for flag, port in ports.items()),
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        f"-s3.config={config}",
        "-s3.autoCreateBucket=false",
        "-webdav=false",
        "-admin.ui=false",
        "-master.telemetry=false",
    ]
    # weed would make an identity of AWS keys, and a bucket of S3_BUCKET, that it finds in its environment.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "S3_", "WEED_"))}
    return StoreServer(
        process=start(command, log=log, environment=environment, folder=folder),
        endpoint=f"http://{LOOPBACK}:{ports['s3.port']}",
        access_key=identity["access_key"],
        secret_key=identity["secret_key"],
        ports=tuple(ports.values()),
        log=str(log),
    )


def _can_be_written(server: StoreServer) -> bool:
    """Make the bucket and an object in it; whether both worked.

    A write that comes before the volumes have told the master of themselves waits for five seconds, so they come first.
    """
    if not _has_volumes(server):
        return False
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    with variables_set(no_aws()):  # A profile that does not exist would be an error, though nothing asks for it.
        client = boto3.Session().client(
            "s3",
            endpoint_url=server.endpoint,
            aws_access_key_id=server.access_key,
            aws_secret_access_key=server.secret_key,
            region_name=REGION,
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=1, read_timeout=10),
        )
    try:
        with suppress(client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou):
            client.create_bucket(Bucket=BUCKET)
        client.put_object(Bucket=BUCKET, Key=_PROBE_KEY, Body=b"")
        client.put_object(Bucket=BUCKET, Key=_PROBE_KEY, Body=b"ready")
        client.delete_object(Bucket=BUCKET, Key=_PROBE_KEY)
    except (BotoCoreError, ClientError):
        return False
    return True


def _has_volumes(server: StoreServer) -> bool:
    ports = dict(zip(_PORT_FLAGS, server.ports, strict=True))
    try:
        with without_proxy().open(f"http://{LOOPBACK}:{ports['master.port']}/dir/status", timeout=5) as answer:
            return int(json.load(answer)["Topology"]["Max"]) > 0
    except (OSError, ValueError, KeyError):
        return False

"""A stand-in for S3 on this machine, with which runs and tables work on `s3://` as in a cloud."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import fsspec
import httpx
import pytest
from moto.server import ThreadedMotoServer

BUCKET = "logs"


@contextmanager
def object_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Serve an empty bucket, `s3://logs`, until the block ends.

    Yields:
        The environment with which processes use it; this one does until the block ends.
    """
    # Else it prints each request.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    # What it holds belongs to this process, and outlives the server.
    httpx.post(f"{environment['AWS_ENDPOINT_URL']}/moto-api/reset").raise_for_status()
    # Clients are kept by process, and those of another test know another address.
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    store().mkdir(BUCKET)
    try:
        yield environment
    finally:
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        server.stop()


def store() -> Any:
    """The client of the bucket."""
    return fsspec.filesystem("s3", use_listings_cache=False)

"""A real S3: SeaweedFS from its wheel, which verifies signatures, expiry, If-Match and ranges."""

import json
import shutil
import signal
import socket
import subprocess
import sysconfig
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import botocore.session
from botocore.client import BaseClient
from botocore.config import Config

from gateway.config import S3Store
from gateway.demo.ports import free_ports

DOMAIN = "s3.test"
"""Bucket names may stand before this in the Host; nothing resolves it."""
READY_S = 60.0


class SeaweedS3:
    """One server with one bucket, on free ports of loopback. ``start`` and ``stop`` block; the data outlives a stop."""

    def __init__(self) -> None:
        self.bucket = "recordings"
        self.region = "us-east-1"
        self.access_key_id = "TESTACCESSKEY"
        self.secret_access_key = "test-secret-access-key"
        self.folder = Path(tempfile.mkdtemp(prefix="rg-s3-"))
        self._ports = free_ports(7)
        self.port = self._ports[0]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        self._client: Any = None  # botocore makes its clients' methods at run time

    def start(self) -> None:
        """Returns once the bucket is there."""
        s3, s3_grpc, master, master_grpc, volume, volume_grpc, filer = self._ports
        filer_grpc, admin = free_ports(1)[0], _free_admin_port()
        identities = self.folder / "identities.json"
        credentials = [{"accessKey": self.access_key_id, "secretKey": self.secret_access_key}]
        identity = {"name": "tests", "credentials": credentials, "actions": ["Admin", "Read", "Write", "List"]}
        identities.write_text(json.dumps({"identities": [identity]}))
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        command = [
            str(Path(sysconfig.get_path("scripts")) / "weed"),
            "mini",
            f"-dir={data}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            f"-s3.port={s3}",
            f"-s3.port.grpc={s3_grpc}",
            f"-master.port={master}",
            f"-master.port.grpc={master_grpc}",
            f"-volume.port={volume}",
            f"-volume.port.grpc={volume_grpc}",
            f"-filer.port={filer}",
            f"-filer.port.grpc={filer_grpc}",
            f"-admin.port={admin}",
            f"-s3.config={identities}",
            f"-s3.domainName={DOMAIN}",
            f"-s3.localSocket={self.folder / 's3.sock'}",
            f"-filer.localSocket={self.folder / 'filer.sock'}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-master.telemetry=false",
            "-webdav=false",
            "-admin.ui=false",
        ]
        environment = {
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder),
        }
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=self.folder)
        self._sockets = [s3_grpc, master_grpc, volume_grpc, filer_grpc, admin + 10_000]
        self._await_ready()
        if self.bucket not in {b["Name"] for b in self.client.list_buckets()["Buckets"]}:
            self.client.create_bucket(Bucket=self.bucket)

    def stop(self) -> None:
        """Ends the server at once; ``start`` brings it back with its objects."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
            for port in self._sockets:  # it leaves them lying about
                for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108 - its own choice of place
                    left.unlink(missing_ok=True)

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()  # its data goes as well; an orderly end may take it ten seconds
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def client(self) -> Any:
        """A blocking client, straight to the server."""
        if self._client is None:
            self._client = self._make_client()
        return self._client

    def put(self, key: str, data: bytes, media_type: str = "audio/wav", **more: str) -> None:
        """``more`` are parameters of S3's PutObject, as ``ContentEncoding="gzip"``."""
        self.client.put_object(Bucket=self.bucket, Key=key, Body=data, ContentType=media_type, **more)

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=key)

    def settings(self, **changes: Any) -> S3Store:
        """How a gateway is told of this server."""
        settings: dict[str, Any] = {
            "kind": "s3",
            "bucket": self.bucket,
            "region": self.region,
            "endpoint": self.endpoint,
            "access_key_id": self.access_key_id,
            "secret_access_key": self.secret_access_key,
        }
        return S3Store.model_validate(settings | changes)

    def _make_client(self) -> BaseClient:
        return botocore.session.Session().create_client(
            "s3",
            region_name=self.region,
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            config=Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required"),
        )

    def _await_ready(self) -> None:
        assert self._process is not None
        end = time.monotonic() + READY_S
        while time.monotonic() < end and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.endpoint}/healthz", timeout=1):
                    return
            except urllib.error.HTTPError:
                return
            except OSError:
                time.sleep(0.02)
        self.stop()
        raise RuntimeError("SeaweedFS did not start:\n" + (self.folder / "log").read_text()[-2000:])


def _free_admin_port() -> int:
    """One whose gRPC port is free too: a worker inside the server looks for it 10,000 above, whatever one says."""
    for _ in range(200):
        (port,) = free_ports(1)
        with suppress(OSError):
            socket.create_server(("127.0.0.1", port + 10_000)).close()
            return port
    raise RuntimeError("no two free ports 10,000 apart")

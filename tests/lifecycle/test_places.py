"""Which places mean the same object."""

from pathlib import Path

from gateway.config import DiskStore, GcsStore, S3Store
from gateway.lifecycle.places import alike


def test_stores_are_alike_whose_bucket_is_the_same_at_the_same_endpoint_however_that_is_written():
    buckets = {
        name: S3Store(kind="s3", bucket="calls", region=region, endpoint=endpoint)
        for name, region, endpoint in (
            ("a", "eu-west-1", None),
            ("b", "us-east-1", None),
            ("c", "eu-west-1", "http://minio:9000"),
            ("d", "eu-west-1", "http://MinIO.:9000/"),
            ("e", "eu-west-1", "https://s3.eu-west-1.amazonaws.com"),
            ("f", "eu-west-1", "https://objects.example"),
            ("g", "us-east-1", "http://objects.example:80"),
            ("h", "us-east-1", "https://objects.example:444"),
            ("i", "auto", "https://storage.googleapis.com"),
        )
    } | {"j": GcsStore(kind="gcs", bucket="calls")}
    alikes = {
        "a": "abe",
        "b": "abe",
        "e": "abe",
        "c": "cd",
        "d": "cd",
        "f": "fg",
        "g": "fg",
        "h": "h",
        "i": "ij",
        "j": "ij",
    }
    for name, same in {**alikes, "unknown": ["unknown"]}.items():
        assert alike(buckets)((name, "key")) == {(each, "key") for each in same}


def test_folders_are_alike_that_lie_within_each_other(tmp_path: Path):
    ways = {"all": ".", "acme": "acme", "acme2": "acme2", "again": "acme/../acme", "machine": "/"}
    places = alike({name: DiskStore(kind="disk", root=tmp_path / way) for name, way in ways.items()})
    outermost = ("machine", f"{tmp_path.resolve()}/acme/a.wav"[1:])
    same = {("all", "acme/a.wav"), ("acme", "a.wav"), ("again", "a.wav"), outermost}
    for place in same:
        assert places(place) == same
    assert places(("acme2", "a.wav")) >= {("all", "acme2/a.wav"), ("acme2", "a.wav")}
    assert not {name for name, _ in places(("acme2", "a.wav"))} & {"acme", "again"}

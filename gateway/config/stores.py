"""The tables of the file that say where audio lies, and how it is read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from .forms import BaseUrl, BufferBytes, Count, Folder, Seconds, Section

_S3_HOST = re.compile(r"((?!-)[a-z0-9-]{1,63}(?<!-)(\.|$))+|.*:.*", re.ASCII)
"""What AWS' library takes for a host, in lower case."""


_REGION = re.compile("(?![0-9]+$)(?!-)[a-zA-Z0-9-]{1,63}(?<!-)")
"""What AWS' library takes for one; it takes none as well."""


def _bucket(text: str) -> str:
    if "://" in text:
        raise ValueError("give the bucket's name alone, without a scheme and a folder")
    return text


def _region(text: str) -> str:
    if _REGION.fullmatch(text) is None:
        raise ValueError("give a region's name, as eu-central-1")
    return text


Bucket = Annotated[str, Field(min_length=3), AfterValidator(_bucket)]


class S3Store(Section):
    """An S3 bucket, or any endpoint that speaks S3."""

    kind: Literal["s3"]
    bucket: Bucket = Field(description="bucket name")
    region: Annotated[str, AfterValidator(_region)] = Field("us-east-1", description="region that signatures name")
    endpoint: BaseUrl | None = Field(None, description="URL of an S3-compatible server; unset: AWS")
    addressing: Literal["auto", "path", "virtual"] = Field(
        "auto", description="bucket in the path, or (virtual) in the host name; auto: path where an endpoint is given"
    )
    access_key_id: SecretStr | None = Field(None, description="static credentials; unset: the instance's own chain")
    secret_access_key: SecretStr | None = Field(None, description="goes with access_key_id")
    session_token: SecretStr | None = Field(None, description="goes with temporary static credentials")
    public_endpoint: BaseUrl | None = Field(
        None, description="endpoint that signed URLs name, where clients reach the store by another name"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError(
                "access_key_id and secret_access_key go together; give both, or neither for the instance's"
            )
        for key, url in (("endpoint", self.endpoint), ("public_endpoint", self.public_endpoint)):
            if url is not None and _S3_HOST.fullmatch(urlsplit(url).hostname or "") is None:
                raise ValueError(
                    f"{key}: AWS' library takes no host name but of letters, digits, hyphens and dots; give another, or an address"
                )
        return self


class GcsStore(Section):
    """A Google Cloud Storage bucket."""

    kind: Literal["gcs"]
    bucket: Bucket = Field(description="bucket name")
    service_account_file: Path | None = Field(
        None, description="JSON key file; unset: the instance's own identity. Signed URLs need the file"
    )
    endpoint: BaseUrl | None = Field(None, description="URL of an emulator, asked without credentials; unset: Google")


class DiskStore(Section):
    """A folder on this machine. Nothing outside it is ever opened."""

    kind: Literal["disk"]
    root: Folder = Field(description="folder that holds the recordings; must exist")


AnyStore = Annotated[S3Store | GcsStore | DiskStore, Field(discriminator="kind")]


class Origin(Section):
    """Reading from stores."""

    connect_s: Seconds = Field(3, description="seconds to connect to a store")
    first_byte_s: Seconds = Field(10, description="seconds from asking a store to its answer's first byte")
    progress_s: Seconds = Field(
        15, description="seconds a store may send nothing in the middle of a body before it counts as broken"
    )
    resumes: int = Field(
        3, ge=0, description="times a broken body is taken up again at the same version before the client is cut off"
    )
    connections: Count = Field(2048, description="connections per store at most; each stream takes one")
    receive_buffer_bytes: BufferBytes = Field(
        4_194_304,
        description="bytes on their way from a store that the kernel may hold for a stream whose client takes all that comes,"
        " or megabytes a second; for other streams at most 131072. 0 lets it choose, up to megabytes for every stream. No"
        " more than net.core.rmem_max. Divided by the seconds of the round trip to the store, it is the most bytes a second"
        " that one stream gets",
    )
    sign_reuse_s: Seconds = Field(
        240,
        description="seconds a read URL signed for an object serves all of its ranges; it is good for a minute longer",
    )

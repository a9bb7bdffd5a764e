"""The other thing that is written first: FastAPI, httpx, StreamingResponse; uvicorn[standard] runs it, so uvloop does."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask

FIELDS = ("etag", "content-type", "content-length", "content-range", "accept-ranges", "last-modified")
client = httpx.AsyncClient(
    base_url=os.environ["ORIGIN"],
    limits=httpx.Limits(max_connections=2048, max_keepalive_connections=2048, keepalive_expiry=3600),
    timeout=httpx.Timeout(15, pool=60),
)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """The client's connections end with the application."""
    async with client:
        yield


app = FastAPI(lifespan=lifespan, openapi_url=None)


@app.get("/{key:path}")
async def play(key: str, request: Request) -> StreamingResponse:
    """The object, or the range of it that was asked for."""
    asked = {"Range": request.headers["range"]} if "range" in request.headers else {}
    got = await client.send(client.build_request("GET", f"/{key}", headers=asked), stream=True)
    headers = {name: got.headers[name] for name in FIELDS if name in got.headers}
    return StreamingResponse(got.aiter_raw(), got.status_code, headers, background=BackgroundTask(got.aclose))

"""What is written first: an aiohttp handler around the SDK's ``get_object``. Thirty lines; no auth, no audit."""

import os

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from aiohttp import web

BUCKET = os.environ["BUCKET"]
CONFIG = AioConfig(max_pool_connections=2048, s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})
FIELDS = {"ETag": "ETag", "ContentType": "Content-Type", "ContentRange": "Content-Range"}


def application(endpoint: str, ca: str | None) -> web.Application:
    """One bucket at ``endpoint``, read with the credentials of the environment."""
    app = web.Application()
    session = get_session()

    async def play(request: web.Request) -> web.StreamResponse:
        asked = {"Range": request.headers["Range"]} if "Range" in request.headers else {}
        got = await app["s3"].get_object(Bucket=BUCKET, Key=request.match_info["key"], **asked)
        async with got["Body"] as body:
            headers = {name: got[field] for field, name in FIELDS.items() if field in got}
            response = web.StreamResponse(status=got["ResponseMetadata"]["HTTPStatusCode"], headers=headers)
            response.content_length = got["ContentLength"]
            await response.prepare(request)
            async for piece in body.iter_chunks(65536):
                await response.write(piece)
        return response

    async def connected(app: web.Application):  # type: ignore[no-untyped-def]  # noqa: ANN202 - as short as people write it
        async with session.create_client("s3", endpoint_url=endpoint, verify=ca, config=CONFIG) as app["s3"]:
            yield

    app.router.add_get(f"/{BUCKET}/{{key:.+}}", play)
    app.cleanup_ctx.append(connected)
    return app


if __name__ == "__main__":
    web.run_app(
        application(os.environ["ORIGIN"], os.environ.get("CA")),
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        access_log=None,
        print=None,
        handler_cancellation=True,
    )

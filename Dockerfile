# The service alone: no compiler, no pip, no shell script. Runs as 10001 on a read-only root; only the journal is written.
#   docker run --read-only -p 8080:8080 -v journal:/var/lib/recording-gateway/journal \
#     -v ./gateway.toml:/etc/recording-gateway.toml:ro -e RECORDING_GATEWAY_CONFIG=/etc/recording-gateway.toml recording-gateway
# Another port is said by RECORDING_GATEWAY__SERVER__PORT, which the health check heeds; the file's it does not know.

FROM python:3.13.9-slim-bookworm AS base
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

FROM base AS build
WORKDIR /src
COPY requirements/build.lock requirements/runtime.lock requirements/
RUN python -m venv --without-pip /opt/gateway \
    && pip install --no-cache-dir --require-hashes -r requirements/build.lock \
    && pip --python /opt/gateway/bin/python install --no-cache-dir --require-hashes -r requirements/runtime.lock
COPY pyproject.toml README.md LICENSE ./
COPY gateway gateway
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /dist . \
    && pip --python /opt/gateway/bin/python install --no-cache-dir --no-index --no-deps /dist/*.whl

FROM base AS runtime
RUN python -m pip uninstall --yes pip \
    && rm -rf /usr/local/lib/python3.13/ensurepip \
    && useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin gateway \
    && install -d -o 10001 -g 10001 -m 0750 /var/lib/recording-gateway/journal
COPY --from=build /opt/gateway /opt/gateway
ENV PATH=/opt/gateway/bin:$PATH \
    RECORDING_GATEWAY__SERVER__HOST=0.0.0.0
USER 10001:10001
VOLUME /var/lib/recording-gateway/journal
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ.get('RECORDING_GATEWAY__SERVER__PORT', '8080') + '/healthz', timeout=4)"]
ENTRYPOINT ["recording-gateway"]
CMD ["serve"]

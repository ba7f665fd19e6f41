# Run it with a key of your own and a volume for the recordings:
#   docker build -t wavstream .
#   docker run -p 8080:8080 -v recordings:/data -e WAVSTREAM_API_KEY=... wavstream
# It has what a bucket (docs/stores.md), PostgreSQL and a cluster need.
# For streams in G.722, Opus or AMR-WB (docs/codecs.md) make an image FROM it, with PyAV; for transcripts made on it
# (docs/transcription.md) with pocketsphinx, or faster-whisper:
#   USER root
#   RUN pip --python /opt/wavstream install av pocketsphinx
#   USER 10001:10001
# `podman build` needs --format docker: its own format has no HEALTHCHECK (docs/operations.md, Podman).

FROM python:3.11.16-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b AS base

FROM base AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements requirements
RUN pip install --require-hashes -r requirements/build.lock \
    && python -m venv --without-pip /opt/wavstream \
    && pip --python /opt/wavstream install --require-hashes -r requirements/server.lock
COPY pyproject.toml README.md LICENSE ./
COPY wavstream wavstream
RUN pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
    && pip --python /opt/wavstream install --no-deps dist/*.whl \
    && /opt/wavstream/bin/python -m compileall -q /opt/wavstream

FROM base
RUN groupadd --gid 10001 wavstream \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin wavstream \
    && install --directory --owner wavstream --group wavstream --mode 0750 /data
COPY --from=build /opt/wavstream /opt/wavstream
ENV PATH=/opt/wavstream/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    WAVSTREAM_HOST=0.0.0.0 \
    WAVSTREAM_PORT=8080 \
    WAVSTREAM_DATA_DIR=/data \
    WAVSTREAM_LOG__FORMAT=json
# By number: Kubernetes cannot tell from a name that it is not root.
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 CMD ["wavstream-health"]
ENTRYPOINT ["wavstream"]
CMD ["serve"]

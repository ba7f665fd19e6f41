# Run it with a key of your own and a volume for the recordings:
#   docker build -t wavstream .
#   docker run -p 8080:8080 -v recordings:/data -e WAVSTREAM_API_KEY=... wavstream

FROM python:3.11-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/wavstream
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY wavstream wavstream
RUN /opt/wavstream/bin/pip install . && /opt/wavstream/bin/python -m compileall -q /opt/wavstream

FROM python:3.11-slim
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
USER wavstream
WORKDIR /data
VOLUME /data
EXPOSE 8080
# A link of Docker's may have WAVSTREAM_PORT=tcp://...; the server passes over that and listens on 8080.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; p = os.environ['WAVSTREAM_PORT']; r.urlopen(f'http://127.0.0.1:{p if p.isdigit() else 8080}/healthz', timeout=2)"]
ENTRYPOINT ["wavstream"]
CMD ["serve"]

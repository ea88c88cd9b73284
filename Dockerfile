# Three images from one file: `web` has no network runtime, `worker` runs on CPU, `worker-gpu` on an NVIDIA GPU.
ARG PYTHON=3.12
FROM python:${PYTHON}-slim AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PATH=/app/.venv/bin:$PATH \
    UV_PROJECT_ENVIRONMENT=/app/.venv UV_COMPILE_BYTECODE=1 UV_NO_CACHE=1
RUN pip install --no-cache-dir uv==0.13.8 \
 && useradd --system --uid 10001 --create-home pneumoscreen \
 # Group 0 and its permissions let the image run under any user id, as on OpenShift.
 && install --directory --owner pneumoscreen --group root --mode 0770 /data /data/store /data/graphs
WORKDIR /app
COPY pyproject.toml uv.lock README.md LICENSE ./
COPY shared shared
COPY migrations migrations
COPY cli cli
COPY models models

FROM base AS web
COPY web web
COPY worker/__init__.py worker/__init__.py
COPY evaluation/__init__.py evaluation/__init__.py
COPY training/__init__.py training/__init__.py
RUN uv sync --frozen --no-default-groups --group web --group cli --group sso --group s3
USER pneumoscreen
EXPOSE 8000
CMD ["pneumoscreen", "web", "--host", "0.0.0.0", "--port", "8000"]

FROM base AS worker
COPY web/__init__.py web/__init__.py
COPY worker worker
COPY evaluation/__init__.py evaluation/__init__.py
COPY training/__init__.py training/__init__.py
RUN uv sync --frozen --no-default-groups --group worker --group cli --group s3
USER pneumoscreen
CMD ["pneumoscreen", "worker"]

FROM base AS worker-gpu
COPY web/__init__.py web/__init__.py
COPY worker worker
COPY evaluation/__init__.py evaluation/__init__.py
COPY training/__init__.py training/__init__.py
RUN uv sync --frozen --no-default-groups --group gpu --group cli --group s3
USER pneumoscreen
CMD ["pneumoscreen", "worker", "--processes", "1"]

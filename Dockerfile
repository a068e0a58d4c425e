# One image, two roles: the web unless a command says otherwise; the Procfile has the worker's.
# Configuration and secrets come at run time: RINGBACK_CONFIG (a file), REDIS_URL, and what it names by env:.
ARG PYTHON=3.12-slim-bookworm

FROM python:${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
RUN python -m venv /opt/ringback
# The dependencies first: they change less often than the code.
COPY requirements.lock ./
RUN /opt/ringback/bin/pip install --require-hashes --only-binary :all: --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY integration integration
COPY workers workers
RUN /opt/ringback/bin/pip install --no-deps --no-build-isolation .

FROM python:${PYTHON}
RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin ringback
COPY --from=build /opt/ringback /opt/ringback
ENV PATH=/opt/ringback/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PORT=8080 \
    RINGBACK_CONFIG=/etc/ringback/ringback.toml
WORKDIR /srv
USER 10001
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=30s --start-period=60s --retries=2 \
    CMD ["python", "-m", "integration.local.health_check", "--web"]
CMD ["ringback", "web"]

# One image for jobs, endpoint, exporter and the store for trials. With BuildKit (Docker 23 or newer, or buildah):
#
#   docker build -t roadbed:0.1.0 .                                                    for CPUs
#   docker build -t roadbed:0.1.0-cuda --build-arg TORCH_INDEX=https://pypi.org/simple .   for NVIDIA GPUs
#
# PyPI's torch brings CUDA's libraries as wheels; the node brings the driver. Where another base is prescribed, any
# Debian or Ubuntu with Python 3.11 or newer will do, its Python named as SYSTEM_PACKAGES if it comes by apt:
#
#   --build-arg BASE_IMAGE=nvidia/cuda:13.0.2-runtime-ubuntu24.04 --build-arg SYSTEM_PACKAGES="python3 python3-venv"
ARG BUILD_IMAGE=python:3.11-slim-trixie
ARG BASE_IMAGE=python:3.11-slim-trixie

# The wheel, and apart from it what it requires: that changes seldom, so the layer of the requirements stays cached.
FROM ${BUILD_IMAGE} AS wheel
ARG PIP_INDEX_URL=https://pypi.org/simple
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
RUN python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
extras = project['optional-dependencies']; \
print(*project['dependencies'], *extras['engines'], *extras['local'], sep='\n')" > /requirements.txt
COPY platform platform
COPY helm helm
# hadolint ignore=DL3042
RUN --mount=type=cache,target=/root/.cache/pip \
    pip wheel --no-deps --wheel-dir /dist .

FROM ${BASE_IMAGE} AS runtime
ARG SYSTEM_PACKAGES=""
# What KubeRay asks of an image: bash for every command, and wget, by which it asks whether workers of a RayService are
# ready. tini reaps the orphans of commands that are not Ray's. Versions are those of the base image's release.
# hadolint ignore=DL3008,SC2086
RUN apt-get update \
    && apt-get install --yes --no-install-recommends bash ca-certificates tini util-linux wget ${SYSTEM_PACKAGES} \
    && rm -rf /var/lib/apt/lists/* \
    && if id ubuntu > /dev/null 2>&1; then userdel --remove ubuntu; fi \
    && groupadd --gid 1000 roadbed \
    && useradd --uid 1000 --gid 1000 --create-home --home-dir /home/roadbed --shell /bin/bash roadbed \
    && python3 -m venv /opt/roadbed \
    # Login shells, in which some versions of KubeRay start Ray, forget PATH.
    && echo "PATH=/opt/roadbed/bin:\$PATH" > /etc/profile.d/roadbed.sh
ENV PATH=/opt/roadbed/bin:$PATH \
    HOME=/home/roadbed \
    PYTHONUNBUFFERED=1 \
    RAY_USAGE_STATS_ENABLED=0 \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

# torch alone comes from its own index, everything else from PyPI; the lock says which versions.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG PIP_INDEX_URL=https://pypi.org/simple
COPY requirements.lock /opt/roadbed/requirements.lock
COPY --from=wheel /requirements.txt /opt/roadbed/requirements.txt
# hadolint ignore=DL3042
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --no-deps --index-url "${TORCH_INDEX}" --constraint /opt/roadbed/requirements.lock torch torchvision
# Layers of their own: a new version of roadbed is a few megabytes to push and to pull.
# hadolint ignore=DL3042,DL3059
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --constraint /opt/roadbed/requirements.lock --requirement /opt/roadbed/requirements.txt
# hadolint ignore=DL3059
RUN --mount=type=bind,from=wheel,source=/dist,target=/dist \
    pip install --no-cache-dir --no-deps /dist/*.whl \
    && pip check

ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="roadbed" \
      org.opencontainers.image.description="Train, tune and serve DeepLab road-scene segmentation with Ray on Kubernetes" \
      org.opencontainers.image.source="https://github.com/roadbed/roadbed" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# By number, so that runAsNonRoot can tell that it is not root.
USER 1000:1000
WORKDIR /home/roadbed
ENTRYPOINT ["tini", "--"]
CMD ["roadbed", "--help"]

# One image for head, workers and a machine of your own. docs/cluster.md tells the rest.
#   docker build -t sonotune . && docker run --rm --gpus all --shm-size=8g sonotune sonotune doctor
# Runs that shall outlive their container, as files of your own:
#   mkdir -p runs && docker run --rm --gpus all --shm-size=8g --user "$(id -u)" -e HOME=/tmp \
#       -v "$PWD/runs:/opt/sonotune/runs" sonotune sonotune search searchspaces/quickstart.yaml
# torch brings CUDA's libraries itself. The base is of the same CUDA, 13.0, for what it says of the driver: one that
# is too old is bridged where NVIDIA allows it, else refused when the container starts.
FROM nvidia/cuda:13.0.2-base-ubuntu24.04

SHELL ["/bin/bash", "-o", "pipefail", "-c"]

# wget: KubeRay's probes. rsync and ssh: the cluster launcher. Ubuntu keeps no older builds to pin.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        ca-certificates openssh-client python3 python3-venv rsync wget \
    && rm -rf /var/lib/apt/lists/*

# The packages before the code, so that a change of the code does not fetch torch again.
ARG TORCH="torch==2.13.0"
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /opt/sonotune
COPY constraints.txt ./
RUN python3 -m venv /opt/venv && pip install --no-cache-dir --constraint constraints.txt "$TORCH"

COPY pyproject.toml README.md LICENSE ./
COPY engine engine
COPY reports reports
COPY searchspaces searchspaces
# Editable, so that `sonotune spaces` finds them beside the code. Nothing of a run needs root: Ray's own files go to
# /tmp, runs to runs/, to what is mounted or to an object store.
RUN pip install --no-cache-dir --constraint constraints.txt --editable ".[cluster]" \
    && python -m compileall -q engine reports \
    && useradd --create-home --uid 1001 sonotune \
    && install --directory --owner=sonotune runs
USER 1001
CMD ["sonotune", "--help"]

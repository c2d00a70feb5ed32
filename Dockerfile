# One image for head, workers and a machine of your own. docs/cluster.md tells the rest.
#   docker build -t sonotune . && docker run --rm --gpus all --shm-size=8g sonotune sonotune doctor
# torch brings CUDA's libraries itself; of the base only the driver's interface is needed.
FROM nvidia/cuda:12.8.1-base-ubuntu24.04

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
# Nothing of a run needs root. Ray's own files go to /tmp, runs to what is mounted or to an object store.
RUN pip install --no-cache-dir --constraint constraints.txt ".[cluster]" \
    && useradd --create-home --uid 1001 sonotune
USER 1001
CMD ["sonotune", "--help"]

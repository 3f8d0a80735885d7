# vsalign with Ray, for Kubernetes and for `docker run`: docker build -t YOUR_REGISTRY/vsalign .
# The GPU's driver comes from the host, the CUDA libraries with torch.
FROM python:3.12-slim
# libgomp1: OpenMP for numba. procps, wget: KubeRay's probes and Ray's own look at processes.
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 procps wget && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/vsalign
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY orchestrator orchestrator
COPY tasks tasks
COPY vsalign vsalign
RUN pip install --no-cache-dir -c constraints.txt '.[s3,gcs]' 'ray[default]'
RUN useradd --create-home --uid 1000 film
USER film
WORKDIR /home/film
CMD ["vsalign", "--help"]

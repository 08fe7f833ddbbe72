# Two images from one file: `operator`, which decides and never parses a model, and `runtime`, which serves and quantizes.
#   docker build --target operator --tag quanary/operator .
#   docker build --target runtime --tag quanary/runtime .
# BASE is any image with Python 3.11 and its venv module.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS tools
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
COPY requirements/build.txt /build/
RUN python3 -m venv /build/tools \
 && /build/tools/bin/pip install --quiet --require-hashes -r /build/build.txt
# Every environment lies at this path, so that one laid over another is one environment.
RUN python3 -m venv --without-pip /opt/quanary

# Our own package alone: a small layer over dependencies that seldom change.
FROM tools AS package
COPY pyproject.toml README.md /build/source/
COPY operator /build/source/operator
RUN /build/tools/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /build/wheels /build/source \
 && /build/tools/bin/pip --python /opt/quanary/bin/python install --quiet --no-deps --no-index --no-compile /build/wheels/*.whl \
 && /opt/quanary/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/quanary/lib

FROM tools AS operator-dependencies
COPY requirements/operator.txt /build/
# The client's thousands of generated models are never loaded: only plain dicts are sent and read.
RUN /build/tools/bin/pip --python /opt/quanary/bin/python install --quiet --no-compile --require-hashes -r /build/operator.txt \
 && /opt/quanary/bin/python -m compileall -q --invalidation-mode unchecked-hash -x '/kubernetes/(aio/)?client/(api|models)/' /opt/quanary/lib

FROM ${BASE} AS operator
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="quanary-operator" \
      org.opencontainers.image.description="Certifies, compares, shifts and rolls back quantized models on Kubernetes." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
COPY --from=operator-dependencies /opt/quanary /opt/quanary
COPY --from=package /opt/quanary /opt/quanary
# What parses models has no place beside the permissions of the operator.
RUN /opt/quanary/bin/python -c "from importlib.util import find_spec; \
found = [each for each in ('onnx', 'onnxruntime', 'numpy', 'scipy') if find_spec(each)]; assert not found, found" \
 && /opt/quanary/bin/quanary --help
USER 65532:65532
ENTRYPOINT ["/opt/quanary/bin/quanary"]
CMD ["controller"]

FROM tools AS runtime-dependencies
COPY requirements/runtime.txt /build/
# The tests of numpy and scipy are 25 MB, and as much again compiled, that nobody runs here. Of Arrow only Parquet is
# read; its own network clients are another 50 MB, and a way out that nobody guards.
RUN /build/tools/bin/pip --python /opt/quanary/bin/python install --quiet --no-compile --require-hashes -r /build/runtime.txt \
 && find /opt/quanary/lib -type d -name tests -prune -exec rm -r {} + \
 && cd /opt/quanary/lib/python3*/site-packages/pyarrow && rm -rf include src ./*flight* ./*s3* ./*gcsfs* ./*azurefs* ./*hdfs* && cd / \
 && /opt/quanary/bin/python -m compileall -q --invalidation-mode unchecked-hash -x '/kubernetes/(aio/)?client/(api|models)/' /opt/quanary/lib

FROM ${BASE} AS runtime
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="quanary-runtime" \
      org.opencontainers.image.description="Serves ONNX models by the Open Inference Protocol; quantizes and certifies them." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 ORT_DISABLE_TELEMETRY=1
COPY --from=runtime-dependencies /opt/quanary /opt/quanary
COPY --from=package /opt/quanary /opt/quanary
RUN /opt/quanary/bin/python -c "import grpc, onnx, onnxruntime, scipy.stats, pyarrow.parquet, obstore, model_signing" && /opt/quanary/bin/quanary --help
USER 65532:65532
ENTRYPOINT ["/opt/quanary/bin/quanary"]

# For tests alone: the same runtime, whose INT8 servers can be told to go bad on port 9900.
FROM runtime AS test-runtime
ENV PYTHONPATH=/opt/faults
COPY e2e/__init__.py /opt/faults/e2e/__init__.py
COPY e2e/faults /opt/faults/e2e/faults
ENTRYPOINT ["/opt/quanary/bin/python", "-m", "e2e.faults"]

# Two images. `operator`: the operator. `runtime`: the engines' plugin, and `cp` to bring it into a pod's volume.
# BASE needs Python 3.11, pip and coreutils; both images run as any user, by default as 65532.
ARG BASE=python:3.11-slim

FROM ${BASE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements/build.txt requirements/
RUN python3 -m pip install -q --require-hashes -r requirements/build.txt

FROM build AS operator-packages
COPY requirements/operator.txt requirements/
RUN python3 -m pip install -q --require-hashes --no-deps --target /packages -r requirements/operator.txt
COPY core core
COPY operator operator
RUN python3 -m pip wheel -q --no-deps --no-build-isolation -w /wheels ./core ./operator \
 && python3 -m pip install -q --no-deps --target /packages /wheels/*.whl

# Nothing but our own packages: what they need is in every vLLM.
FROM build AS runtime-packages
COPY core core
COPY kernels kernels
COPY runtime runtime
RUN python3 -m pip wheel -q --no-deps --no-build-isolation -w /wheels ./core ./kernels ./runtime \
 && python3 -m pip install -q --no-deps --no-compile --target /plugin /wheels/*.whl

FROM ${BASE} AS runtime
COPY --from=runtime-packages /plugin /plugin
USER 65532:65532
# The argument is where to: cp -r /plugin/. DESTINATION
ENTRYPOINT ["cp", "-r", "/plugin/."]

FROM ${BASE} AS operator
COPY --from=operator-packages /packages /packages
ENV PYTHONPATH=/packages PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
ENTRYPOINT ["python3", "-m", "indexcache_operator"]

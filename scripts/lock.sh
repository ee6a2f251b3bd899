#!/usr/bin/env bash
# Compile requirements/: one master lock of every package with hashes, and for each image the part of it that the image needs.
# No file names a package registry: what is locked is names, versions and hashes.
set -euo pipefail
cd "$(dirname "$0")/.."
UV=${UV:?the path of uv; make lock sets it}
compile() { # OUT SOURCES...
  local out=$1; shift
  echo "lock: $out"
  "$UV" pip compile -q --no-header --python-version 3.11 --universal --generate-hashes --no-emit-index-url \
    --override requirements/overrides.txt --no-emit-package indexcache-core --no-emit-package indexcache-kernels --no-emit-package vllm \
    "$@" -o "requirements/$out" >/dev/null
}
compile all.txt {core,operator,kernels,runtime,testbed,testbed/dsa_cpu,testbed/vllm_name}/pyproject.toml --group pyproject.toml:dev
compile operator.txt -c requirements/all.txt {core,operator}/pyproject.toml
compile engine.txt -c requirements/all.txt testbed/vllm_name/pyproject.toml
compile build.txt -c requirements/all.txt requirements/build.in
grep -qE '^uv==' requirements/all.txt
"$UV" pip compile -q --no-header --python-version 3.11 --universal --generate-hashes --no-emit-index-url \
  -c requirements/all.txt - -o requirements/uv.txt <<<uv >/dev/null

#!/usr/bin/env bash
# Make the Python environments, once: `dev` (everything, our packages editable) and `engine` (vLLM for CPUs as engine pods mount it,
# with the DSA backend but without our plugin: that comes to it as it comes to any vLLM image). Nothing is done again while the lock
# and the packages are unchanged.
#
#   scripts/env.sh CACHE [dev|engine]     CACHE: where environments, binaries and images lie; outside the checkout. Default: both
set -euo pipefail
cd "$(dirname "$0")/.."
CACHE=${1:?usage: scripts/env.sh CACHE [dev|engine]}
PYTHON=/usr/bin/python3.11  # Debian's own: pods mount the environment and need the same interpreter at the same path
say() { printf 'env: %s\n' "$*"; }
die() { printf 'env: %s\n' "$*" >&2; exit 1; }

[ "$(uname -s)" = Linux ] || die "this is $(uname -s); Linux is needed (Debian 12 is what is tested)"
if ! "$PYTHON" -c 'import ensurepip' 2>/dev/null; then
  [ "$(id -u)" = 0 ] || die "needs Debian's python3.11 with venv: as root, apt-get install python3.11 python3.11-venv"
  say "installing Debian's python3.11-venv"
  { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q python3.11 python3.11-venv; } >/dev/null \
    || die "apt-get could not install python3.11-venv"
fi

mkdir -p "$CACHE/env"
exec 9>"$CACHE/env/${2:-all}.lock"; flock 9  # two makes at once wait for one another
export UV_CACHE_DIR="$CACHE/uv" UV_LINK_MODE=hardlink UV_NO_PROGRESS=1

stamp() { cat "$@" | sha256sum | cut -c1-16; }
ready() { [ "$(cat "$CACHE/env/$1.stamp" 2>/dev/null)" = "$2" ]; }

bootstrap=$(stamp requirements/uv.txt)
if ! ready tools "$bootstrap"; then
  say "uv, in an environment of its own"
  rm -rf "$CACHE/tools"; "$PYTHON" -m venv "$CACHE/tools"
  "$CACHE/tools/bin/pip" install -q --disable-pip-version-check --require-hashes -r requirements/uv.txt
  echo "$bootstrap" >"$CACHE/env/tools.stamp"
fi
UV="$CACHE/tools/bin/uv"

packages=(core kernels operator runtime testbed testbed/dsa_cpu)
wanted=$(stamp requirements/all.txt scripts/env.sh "${packages[@]/%//pyproject.toml}" <(pwd))
if [ "${2:-dev}" = dev ] && ! ready dev "$wanted"; then
  free=$(df -Pm "$CACHE" | awk 'NR==2 {print $4}')
  [ "$free" -gt 12000 ] || die "$free MB free in $CACHE; the environments, binaries and images want about 20 GB"
  say "dev: about 170 packages, 6 GB (a minute warm; a first download is 3 GB)"
  t=$SECONDS; rm -rf "$CACHE/env/dev"; "$UV" venv -q --python "$PYTHON" "$CACHE/env/dev"
  "$UV" pip install -q --python "$CACHE/env/dev/bin/python" --require-hashes --no-deps --compile-bytecode \
    -r requirements/all.txt  # once here: where Python is told to write no bytecode, each start of vLLM would compile for eight seconds
  "$UV" pip install -q --python "$CACHE/env/dev/bin/python" --no-deps --no-build-isolation "${packages[@]/#/-e./}" ./testbed/vllm_name
  echo "$wanted" >"$CACHE/env/dev.stamp"; say "dev: ready in $((SECONDS - t)) s"
fi

user() {  # the name of a cluster that runs: its engine pods mount the environment
  local file pid
  for file in "$CACHE"/clusters/*/state/launcher; do
    [ -s "$file" ] || continue
    read -r pid _ <"$file"
    if [ "$(cut -d' ' -f22 "/proc/$pid/stat" 2>/dev/null)" = "$(cut -d' ' -f22 "$file")" ]; then basename "${file%/state/launcher}"; fi
  done
}

sources=$(find testbed/dsa_cpu testbed/vllm_name -name '*.py' -o -name '*.toml' | sort | xargs cat | sha256sum | cut -c1-16)
wanted=$(stamp requirements/engine.txt scripts/env.sh <(echo "$sources"))
if [ "${2:-engine}" = engine ] && ! ready engine "$wanted"; then
  for name in $(user); do
    die "engine: to be made anew, but pods of the testbed $name mount it; end it first: make down, or testbed down --name $name"
  done
  say "engine: vLLM for CPUs, as pods mount it (6 GB, hard-linked)"
  t=$SECONDS; rm -rf "$CACHE/env/engine"; "$UV" venv -q --relocatable --python "$PYTHON" "$CACHE/env/engine"
  "$UV" pip install -q --python "$CACHE/env/engine/bin/python" --require-hashes --no-deps --compile-bytecode \
    -r requirements/engine.txt  # compiled once here: pods mount it read-only and would compile it at every start
  wheels=$(mktemp -d); trap 'rm -rf "$wheels"' EXIT
  for package in testbed/dsa_cpu testbed/vllm_name; do
    PATH="$CACHE/env/dev/bin:$PATH" "$UV" build -q --wheel --no-build-isolation --python "$CACHE/env/dev/bin/python" -o "$wheels" "$package"
  done
  "$UV" pip install -q --python "$CACHE/env/engine/bin/python" --no-deps "$wheels"/*.whl
  echo "$wanted" >"$CACHE/env/engine.stamp"; say "engine: ready in $((SECONDS - t)) s"
fi

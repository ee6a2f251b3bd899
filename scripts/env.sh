#!/usr/bin/env bash
# Make what this checkout's Python needs, outside the checkout. Everything is named by what it is made of and never
# changed once it is whole, so checkouts share what they have in common and none takes anything away from another.
# `make clean-cache` removes what is old.
#
#   CACHE/env/uv-KEY            uv, by its own lock
#   CACHE/env/dev-KEY           all dependencies, by requirements/all.txt
#   CACHE/checkouts/NAME/KEY    this checkout's own: the dependencies by path, and our packages, editable
#
#   scripts/env.sh CACHE                    make them, if they are not there
#   scripts/env.sh CACHE where              print the path of this checkout's environment
#   scripts/env.sh CACHE plain MODULE ...   run a module that needs no environment, on Debian's own Python
set -euo pipefail
cd "$(dirname "$0")/.."
CACHE=${1:?usage: scripts/env.sh CACHE [where | plain MODULE ...]}
PYTHON=/usr/bin/python3.11  # Debian's own: in pods the same interpreter lies at the same path
RECIPE=1                    # another number makes all environments anew
packages=(core kernels operator runtime testbed testbed/dsa_cpu)
say() { printf 'env: %s\n' "$*"; }
die() { printf 'env: %s\n' "$*" >&2; exit 1; }
key() { cat "$@" <(echo "$RECIPE") | sha256sum | cut -c1-12; }

uv=$CACHE/env/uv-$(key requirements/uv.txt)
dependencies=$CACHE/env/dev-$(key requirements/all.txt)
checkout=$(pwd -P)
own=$CACHE/checkouts/$(basename "$checkout")-$(key <(echo "$checkout"))/$(
  key requirements/all.txt "${packages[@]/%//pyproject.toml}" testbed/vllm_name/pyproject.toml)
if [ "${2:-}" = where ]; then echo "$own"; exit; fi

[ "$(uname -s)" = Linux ] || die "this is $(uname -s); Linux is needed (Debian 12 is what is tested)"
debian_python() {  # debian_python TEST: have Debian install its Python, unless a test passes
  "$PYTHON" -c "$1" 2>/dev/null && return
  [ "$(id -u)" = 0 ] || die "needs Debian's python3.11 with venv: as root, apt-get install python3.11 python3.11-venv"
  say "installing Debian's python3.11-venv"
  { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q python3.11 python3.11-venv; } >/dev/null \
    || die "apt-get could not install python3.11-venv"
}
plain() { PYTHONPATH=testbed "$PYTHON" -B -m "$@"; }
debian_python pass
if [ "${2:-}" = plain ]; then plain "${@:3}"; exit; fi

once() {  # once DIRECTORY COMMAND: make a directory, unless it is whole; makes that want it at once take turns
  [ -e "$1/.whole" ] && return
  mkdir -p "$(dirname "$1")"
  (
    flock 9
    [ ! -e "$1/.whole" ] || exit 0
    rm -rf "$1"; t=$SECONDS
    "$2"
    touch "$1/.whole"; say "${1#"$CACHE/"}: ready in $((SECONDS - t)) s"
  ) 9>"$1.lock"
}
install() { "$uv/bin/uv" pip install -q --no-deps --python "$1/bin/python" "${@:2}"; }

make_uv() {
  say "uv, in an environment of its own"
  debian_python 'import ensurepip'
  "$PYTHON" -m venv "$uv"
  "$uv/bin/pip" install -q --disable-pip-version-check --require-hashes -r requirements/uv.txt
}
make_dependencies() {
  say "dependencies: about 170 packages, 6 GB (a minute warm; a first download is 3 GB)"
  "$uv/bin/uv" venv -q --python "$PYTHON" "$dependencies"
  # Compiled once here: where Python may write no bytecode, each start of vLLM would compile for eight seconds.
  install "$dependencies" --require-hashes --compile-bytecode -r requirements/all.txt
}
make_own() {
  local site=lib/python3.11/site-packages
  "$uv/bin/uv" venv -q --python "$PYTHON" "$own"
  # By addsitedir, not as a path alone: dependencies may bring .pth files of their own.
  echo "import site; site.addsitedir('$dependencies/$site')" >"$own/$site/dependencies.pth"
  install "$own" --no-build-isolation "${packages[@]/#/-e./}" ./testbed/vllm_name
  ln -s "$dependencies/bin/uv" "$dependencies/bin/ruff" "$own/bin/"
  ln -s "$uv" "$own/uv"; ln -s "$dependencies" "$own/dependencies"; ln -s "$checkout" "$own/checkout"
}

[ -e "$dependencies/.whole" ] || plain indexcache_testbed.cluster.prerequisites "$CACHE" environment
export UV_CACHE_DIR="$CACHE/uv" UV_LINK_MODE=hardlink UV_NO_PROGRESS=1
once "$uv" make_uv
once "$dependencies" make_dependencies
once "$own" make_own
touch "$own/.whole"  # the one that this checkout used last

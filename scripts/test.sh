#!/usr/bin/env bash
# Runs every test of a finished build: the fast unit tests, the slow ones, then the end-to-end tests. A failure does
# not keep the later ones from running; the exit status is 1 where anything failed. `make test` calls it.
set -uo pipefail
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
source "$ROOT/scripts/lib.sh"
cd "$ROOT"
PYTHON="${GRAFT_PYTHON:-$ROOT/.venv/bin/python3}"

failed=()
say "Fast unit tests"
ctest --test-dir build --output-on-failure --no-tests=error -j 2 -L fast || failed+=("fast unit tests")
say "Slow unit tests"
ctest --test-dir build --output-on-failure -j 2 -L slow || failed+=("slow unit tests")
say "End-to-end tests"
"$PYTHON" -m pytest -q tests || failed+=("end-to-end tests")

if [ ${#failed[@]} -gt 0 ]; then
  printf 'error: failed: %s\n' "$(IFS=,; echo "${failed[*]}")" >&2
  exit 1
fi

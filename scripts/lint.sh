#!/usr/bin/env bash
# Checks the format of every C++ file, and runs clang-tidy on the ones that changed: against main on a branch, against
# the commit before on main itself. `scripts/lint.sh --all` runs clang-tidy on all of them (an hour).
set -euo pipefail
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
source "$ROOT/scripts/lib.sh"
cd "$ROOT"

mapfile -t sources < <(git ls-files --cached --others --exclude-standard '*.cc' '*.h')
say "clang-format on ${#sources[@]} files"
clang-format-19 --dry-run -Werror "${sources[@]}"

# The commit to compare with: where this branch left main, or the one before the newest where this is main.
base="$(git merge-base HEAD main 2>/dev/null || true)"
if [ -z "$base" ] || [ "$base" = "$(git rev-parse HEAD)" ]; then
  base="$(git rev-parse -q --verify HEAD~ || git rev-parse HEAD)"
fi

if [ "${1:-}" = --all ]; then
  mapfile -t changed < <(git ls-files '*.cc')
else
  mapfile -t changed < <({ git diff --name-only --diff-filter=d "$base" -- '*.cc'
                           git ls-files --others --exclude-standard -- '*.cc'; } | sort -u)
fi
if [ ${#changed[@]} -eq 0 ]; then
  say "clang-tidy: no source file changed"
  exit 0
fi
say "clang-tidy on ${#changed[@]} files"
# It counts on stderr what it left out of other people's headers; findings go to stdout.
# g++'s own warning switches are in the compile commands; clang must not complain of those it does not know.
printf '%s\0' "${changed[@]}" |
  xargs -0 -n 1 -P "$(nproc)" clang-tidy-19 -p build --quiet --extra-arg=-Wno-unknown-warning-option 2>"$STAMPS/tidy.log" ||
  { grep -h 'error:' "$STAMPS/tidy.log" >&2 || true; fail "clang-tidy found something"; }

# Helpers for the shell scripts here; sourced, not run. Expects ROOT, the top of the checkout.

STAMPS="$ROOT/.cache/setup"

say() { printf '==> %s\n' "$*"; }

fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# as_root CMD...: runs CMD as root, through sudo where we are somebody else.
as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    fail "this step needs root: run scripts/setup.sh as root once, or install sudo"
  fi
}

# logged NAME CMD...: runs CMD with its output in a log file, which is shown only where CMD fails.
logged() {
  local log="$STAMPS/$1.log"
  shift
  mkdir -p "$STAMPS"
  if ! "$@" >"$log" 2>&1 </dev/null; then
    tail -n 40 "$log" >&2
    fail "'$*' failed; the whole log is $log"
  fi
}

# key TEXT...: a digest of the words and of the contents of those of them that name files.
key() {
  local word
  for word in "$@"; do
    printf '%s\n' "$word"
    if [ -f "$word" ]; then cat "$word"; fi
  done | sha256sum | cut -d' ' -f1
}

# A step is done when its stamp file holds the key of its inputs. The stamp lies inside what the step made, so that
# removing that removes the stamp too.
stamped() { [ "$(cat "$1" 2>/dev/null)" = "$2" ]; }
stamp() { printf '%s\n' "$2" >"$1"; }

#!/usr/bin/env bash
# fuzz.sh SECONDS [PROGRAM...]: runs each libFuzzer program of build-fuzz/bin (or those named) for so long, two at a
# time, from the seeds in tests/fuzz/NAME and what earlier runs found in build-fuzz/corpus/NAME. Prints a line for each:
# runs, coverage, findings. A finding's input is left in build-fuzz/findings, and the exit status is 1.
set -euo pipefail
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
source "$ROOT/scripts/lib.sh"
cd "$ROOT"
SECONDS_EACH="${1:?usage: fuzz.sh SECONDS [PROGRAM...]}"
shift
PARALLEL="${FUZZ_PARALLEL:-$(nproc)}"
TIMEOUT="${FUZZ_TIMEOUT:-5}" # wall-clock seconds: more where the programs share the cores with much else
export ASAN_OPTIONS="detect_leaks=1:allocator_may_return_null=0:max_allocation_size_mb=1024"
export UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1"

# An input of at most 64 KiB that takes TIMEOUT seconds, or 1 GiB, is a finding too: parsers are linear and bounded.
fuzz_one() {
  local program="$1" name="${1%_fuzz}" status=0 seeds=()
  mkdir -p "build-fuzz/corpus/$name" build-fuzz/findings build-fuzz/logs
  if [ -d "tests/fuzz/$name" ]; then seeds=("tests/fuzz/$name"); fi
  "build-fuzz/bin/$program" -max_total_time="$SECONDS_EACH" -timeout="$TIMEOUT" -rss_limit_mb=1536 -max_len=65536 \
    -print_final_stats=1 -artifact_prefix="build-fuzz/findings/$name-" \
    "build-fuzz/corpus/$name" "${seeds[@]}" >"build-fuzz/logs/$name.log" 2>&1 || status=$?
  local runs coverage
  runs="$(sed -n 's/^stat::number_of_executed_units: *//p' "build-fuzz/logs/$name.log")"
  coverage="$(grep -o 'cov: [0-9]*' "build-fuzz/logs/$name.log" | tail -1)"
  if [ "$status" = 0 ]; then
    printf '%-24s %12s runs  %-12s no finding\n' "$program" "${runs:-?}" "$coverage"
  else
    printf '%-24s %12s runs  %-12s FINDING (build-fuzz/logs/%s.log)\n' "$program" "${runs:-?}" "$coverage" "$name"
    return 1
  fi
}

programs=("$@")
if [ ${#programs[@]} -eq 0 ]; then
  for path in build-fuzz/bin/*_fuzz; do programs+=("$(basename "$path")"); done
fi
failures="$(mktemp)"
trap 'rm -f "$failures"' EXIT
for program in "${programs[@]}"; do
  while [ "$(jobs -rp | wc -l)" -ge "$PARALLEL" ]; do sleep 0.2; done
  { fuzz_one "$program" || echo "$program" >>"$failures"; } &
done
wait
[ ! -s "$failures" ]

#!/usr/bin/env bash
# A start from a registry cold, warmed and warm, in the guest: bench-cold.sh WARMBLK REMOTE LOCAL LINK NEEDED prints rows of
# the table, and for `far` a second table, of what `warmblk explain` foretold. REMOTE is bench/remote, LOCAL the same image as
# files of this machine, LINK `loopback` or `far` (a round trip of 21 ms and 200 Mbit/s), NEEDED the bytes that the reads need.
# shellcheck source-path=SCRIPTDIR
set -euo pipefail
# shellcheck source=bench-replay.sh
. "$(dirname "$0")/bench-replay.sh"
link=$4 needed=$5
prepare_start "$1" "$2" "$3"

# start NAME WORD...: adds a device with those words, replays, and prints a row. What is fetched before the device is
# handed over, and after.
start() {
  local name=$1 began added requests bytes before_requests before_bytes device took said to_warm wasted
  shift
  requests=$(requests_so_far) bytes=$(bytes_so_far)
  began=$(now_ms)
  device=$("$warmblk" add "$@" 2>/run/said)
  added=$(($(now_ms) - began))
  before_requests=$(($(requests_so_far) - requests)) before_bytes=$(($(bytes_so_far) - bytes))
  took=$(replay "$device" 1)
  said=$(tr '\n' ' ' </run/said)
  # The server says each second what became of what it prefetched, and asks for the next time.
  sleep 2.5
  read -r to_warm wasted < <("$warmblk" stats -n "${device#/dev/ublkb}" --json | jq -r '
    if .warm then .warm | (.unreadChunks + .wastedChunks) as $wasted |
      (.hitChunks + .lateChunks + .failedChunks + $wasted) as $named |
      "\(.milliseconds)_ms \($wasted / ([$named, 1] | max) * 1000 | round / 10)_%"
    else "- -" end')
  "$warmblk" del --all
  requests=$(($(requests_so_far) - requests)) bytes=$(($(bytes_so_far) - bytes))
  echo "| $link | $name | ${to_warm/_/ } | $added ms | $took ms | $((added + took)) ms | $before_requests | $((requests - before_requests)) | $(megabytes "$before_bytes") MB | $(times_needed "$bytes") | ${wasted/_/ } |"
  echo "$name $before_requests $before_bytes $((requests - before_requests)) $((bytes - before_bytes)) $took ${to_warm%_ms}" >>/run/measured
  [[ -z $said ]] || echo "$link, $name: $said" >&2
}

# compare: what was foretold beside what was measured, of the opening, the cold reads, and the warming.
compare() {
  printf '\n| link of 21 ms, 200 Mbit/s | requests, foretold | measured | MB, foretold | measured | ms, foretold | measured |\n'
  printf '|---|--:|--:|--:|--:|--:|--:|\n'
  jq -r '[.opening, .cold, .warming][] | "\(.requests) \(.bytes) \(.seconds * 1000 | round)"' /run/forecast |
    awk '
      NR == FNR { before[$1] = $2; brought[$1] = $3; after[$1] = $4; read[$1] = $5; took[$1] = $6; warm[$1] = $7; next }
      { requests[FNR] = $1; bytes[FNR] = $2; ms[FNR] = $3 }
      function row(what, n, counted, had, time) {
        printf "| %s | %d | %d | %.1f | %.1f | %d | %s |\n", what, requests[n], counted, bytes[n] / 1e6, had / 1e6, ms[n], time
      }
      END {
        row("opening the layers", 1, before["cold"], brought["cold"], "-")
        row("the reads, cold", 2, after["cold"], read["cold"], took["cold"])
        row("warming", 3, before["wait"] - before["cold"], brought["wait"] - brought["cold"], warm["wait"])
      }' /run/measured -
}

# Three runs, recorded on files of this machine, as a build machine would.
for run in 1 2 3; do
  device=$("$warmblk" add --config "$config" --record "/run/run$run.trace")
  replay "$device" 1 >/dev/null
  "$warmblk" del --all
done
"$warmblk" trace merge /run/run?.trace -o /run/start.trace 2>/dev/null
if [[ $link == far ]]; then
  "$warmblk" explain --config /run/lz4.json --trace /run/start.trace --rtt 21ms --rate 200mbit --json >/run/forecast
  link_like 10.5ms 200mbit 1500
fi
start "local files" --config "$config"
start "cold" --config /run/lz4.json --cache /run/layers/cold
start "background" --config /run/lz4.json --cache /run/layers/background --trace /run/start.trace --warm=background
start "wait" --config /run/lz4.json --cache /run/layers/wait --trace /run/start.trace --warm=wait
start "warm" --config /run/lz4.json --cache /run/layers/wait
[[ $link != far ]] || compare

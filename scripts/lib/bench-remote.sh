#!/usr/bin/env bash
# A start from a registry that is 21 ms away, in the guest: bench-remote.sh WARMBLK REMOTE LOCAL MTU NEEDED prints rows of
# the table. REMOTE is bench/remote, LOCAL the same image as local files, NEEDED what the reads need of its layers.
# shellcheck source-path=SCRIPTDIR
set -euo pipefail
# shellcheck source=bench-replay.sh
. "$(dirname "$0")/bench-replay.sh"
mtu=$4 needed=$5
prepare_start "$1" "$2" "$3"

# start NAME READERS WORD...: adds a device with those words, and replays.
start() {
  local name=$1 readers=$2 began added requests bytes add_requests add_bytes device busy took
  shift 2
  requests=$(requests_so_far) bytes=$(bytes_so_far)
  began=$(now_ms)
  device=$("$warmblk" add "$@")
  added=$(($(now_ms) - began))
  sleep 0.5
  add_requests=$(($(requests_so_far) - requests)) add_bytes=$(($(bytes_so_far) - bytes))
  busy=$(cpu_ms)
  took=$(replay "$device" "$readers")
  busy=$(($(cpu_ms) - busy))
  "$warmblk" del --all
  requests=$(($(requests_so_far) - requests - add_requests)) bytes=$(($(bytes_so_far) - bytes - add_bytes))
  echo "| $mtu | $name | $readers | $added ms, $add_requests requests, $(megabytes $add_bytes) MB | $took ms | $requests | $(megabytes $bytes) MB | $(times_needed "$bytes") | $busy ms |"
}

for readers in 1 4; do start "local files" "$readers" --config "$config"; done
link_like 10.5ms 200mbit "$mtu"
for readers in 1 4; do
  start "empty" "$readers" --config /run/lz4.json --cache "/run/layers/cache$readers"
  start "full" "$readers" --config /run/lz4.json --cache "/run/layers/cache$readers"
done

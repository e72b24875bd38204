#!/usr/bin/env bash
# A start from a registry that is 21 ms away, in the guest: bench-remote.sh WARMBLK REMOTE LOCAL MTU NEEDED prints rows of
# the table. REMOTE is bench/remote, LOCAL the same image as local files, NEEDED what the reads need of its layers.
# shellcheck source-path=SCRIPTDIR
set -euo pipefail
# shellcheck source=bench-guest.sh
. "$(dirname "$0")/bench-guest.sh"
# shellcheck source=bench-registry.sh
. "$(dirname "$0")/bench-registry.sh"
remote=$2 local=$3 mtu=$4 needed=$5

layers_on_ram_disk "$local"
cp "$1" /run/program
warmblk=/run/program
cp "$remote/lz4.json" "$remote/reads" /run/
start_registry "$remote/blobs" /run/lz4.json

# replay DEVICE READERS: milliseconds that so many readers need for all reads, each for its share.
replay() {
  local device=$1 readers=$2 reader
  for ((reader = 0; reader < readers; reader++)); do
    {
      printf 'fio version 2 iolog\n%s add\n%s open\n' "$device" "$device"
      # Files stay together: a share is every fourth run of 25 reads.
      awk -v device="$device" -v readers="$readers" -v reader="$reader" \
        'int((NR - 1) / 25) % readers == reader { print device, "read", $1, $2 }' /run/reads
      printf '%s close\n' "$device"
    } >"/run/replay.$reader"
  done
  local jobs=()
  for ((reader = 0; reader < readers; reader++)); do
    jobs+=("--name=$reader" "--read_iolog=/run/replay.$reader")
  done
  fio --thread --direct=1 --ioengine=psync --iodepth=1 --replay_no_stall=1 --output-format=json "${jobs[@]}" |
    jq '[.jobs[].read.runtime] | max'
}

mib() { awk -v bytes="$1" 'BEGIN { printf "%.1f", bytes / 1e6 }'; }

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
  echo "| $mtu | $name | $readers | $added ms, $add_requests requests, $(mib $add_bytes) MB | $took ms | $requests | $(mib $bytes) MB | $(awk -v a="$bytes" -v b="$needed" 'BEGIN { printf "%.2f", a / b }') | $busy ms |"
}

link_like 10.5ms 200mbit "$mtu"
start "cold" 1 --config /run/lz4.json --cache /run/layers/cache1
start "warm" 1 --config /run/lz4.json --cache /run/layers/cache1
start "cold" 4 --config /run/lz4.json --cache /run/layers/cache4
start "warm" 4 --config /run/lz4.json --cache /run/layers/cache4
start "local files" 1 --config "$config"
start "local files" 4 --config "$config"

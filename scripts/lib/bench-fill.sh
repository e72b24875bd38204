#!/usr/bin/env bash
# Fills the cache with one large layer by reading the device in order, beside curl, in the guest: bench-fill.sh WARMBLK
# REMOTE CLOCK prints one row of the table. REMOTE is bench/remote. No delay: what is measured is work.
# shellcheck source-path=SCRIPTDIR
set -euo pipefail
# shellcheck source=bench-guest.sh
. "$(dirname "$0")/bench-guest.sh"
# shellcheck source=bench-registry.sh
. "$(dirname "$0")/bench-registry.sh"
remote=$2 clock=$3

cp "$1" /run/program
warmblk=/run/program
ram_disk
cp "$remote/large.json" /run/
start_registry "$remote/blobs" /run/large.json
url=$(jq -r '.repoBlobUrl + "/" + .lowers[0].digest' /run/large.json)
size=$(jq -r '.lowers[0].size' /run/large.json)

# rate MILLISECONDS: MB/s.
rate() { echo $((size / $1 / 1000)); }

# by_curl FILE: MB/s of the best of three.
by_curl() {
  local began took best=999999 _
  for _ in 1 2 3; do
    rm -f /run/layers/copy
    began=$(now_ms)
    curl -sSf -o "$1" "$url"
    took=$(($(now_ms) - began))
    ((took >= best)) || best=$took
  done
  rate "$best"
}

# by_device WORD...: the same through the device, empty each time.
by_device() {
  local began took best=999999 device _
  for _ in 1 2 3; do
    rm -rf /run/layers/cache /run/layers/copy
    device=$("$warmblk" add --config /run/large.json --cache /run/layers/cache)
    began=$(now_ms)
    dd if="$device" of=/dev/null bs=1M iflag=direct status=none
    took=$(($(now_ms) - began))
    ((took >= best)) || best=$took
    "$warmblk" del --all
  done
  rate "$best"
}

nowhere=$(by_curl /dev/null)
file=$(by_curl /run/layers/copy)
device=$(by_device)
echo "| $clock | $nowhere MB/s | $file MB/s | $device MB/s | $(awk -v a="$device" -v b="$file" 'BEGIN { printf "%.2f", a / b }') |"

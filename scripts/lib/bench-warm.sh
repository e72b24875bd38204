#!/usr/bin/env bash
# Reads of an image that is in the cache, beside the same image as local files, in the guest: bench-warm.sh WARMBLK REMOTE
# LOCAL CODEC prints one row of the table. Layers and cache are on one ext4 on a RAM disk; the network is not needed.
# shellcheck source-path=SCRIPTDIR
set -euo pipefail
# shellcheck source=bench-guest.sh
. "$(dirname "$0")/bench-guest.sh"
# shellcheck source=bench-registry.sh
. "$(dirname "$0")/bench-registry.sh"
remote=$2 local=$3 codec=$4

layers_on_ram_disk "$local"
cp "$1" /run/program
warmblk=/run/program
cp "$remote/$codec.json" /run/image.json
start_registry "$remote/blobs" /run/image.json

# rate DEVICE: random reads of 4 KiB a second, one at a time.
rate() {
  fio --name=read --filename="$1" --readonly --direct=1 --ioengine=io_uring --rw=randread --bs=4k --iodepth="$2" \
    --norandommap --ramp_time=0.3 --runtime=1.5 --time_based --output-format=json |
    jq -r '.jobs[0].read | if .iops > 0 then .iops | round else error("fio read nothing") end'
}
private_kib() { awk '/^Anonymous:/ { print $2 }' "/proc/$("$warmblk" list --json | jq -r ".[$1].pid")/smaps_rollup"; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }

add=("$warmblk" add --queues 1)
device=$("${add[@]}" --config "$config")
local_idle=$(private_kib 0)
local_one=$(rate "$device" 1)
local_many=$(rate "$device" 32)
"$warmblk" del --all
remote_words=(--config /run/image.json --cache /run/layers/cache)
device=$("${add[@]}" "${remote_words[@]}")
dd if="$device" of=/dev/null bs=1M iflag=direct status=none
"$warmblk" del --all
device=$("${add[@]}" "${remote_words[@]}")
# So that each chunk has been checked, as it is once for each process.
dd if="$device" of=/dev/null bs=1M iflag=direct status=none
one=$(rate "$device" 1)
many=$(rate "$device" 32)
"${add[@]}" "${remote_words[@]}" >/dev/null
sleep 3
idle=$(private_kib 1)
"$warmblk" del --all
echo "| $codec | $local_one | $one | $(ratio "$one" "$local_one") | $local_many | $many | $(ratio "$many" "$local_many") | $local_idle KiB | $idle KiB |"

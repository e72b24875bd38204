#!/usr/bin/env bash
# Reads of one image, in the guest: bench-device.sh WARMBLK IMAGE KERNEL CODEC prints one row of the table.
# shellcheck source-path=SCRIPTDIR
set -euo pipefail
# shellcheck source=bench-guest.sh
. "$(dirname "$0")/bench-guest.sh"
warmblk=$1 image=$2 kernel=$3 codec=$4

layers_on_ram_disk "$image"
device=$("$warmblk" add --config "$config" --queues 1)

# rate PATTERN BLOCK DEPTH: reads a second.
rate() {
  fio --name=read --filename="$device" --readonly --direct=1 --ioengine=io_uring --rw="$1" --bs="$2" --iodepth="$3" \
    --norandommap --ramp_time=0.3 --runtime=1.5 --time_based --output-format=json |
    jq -r '.jobs[0].read | if .iops > 0 then .iops | round else error("fio read nothing") end'
}

qd1=$(rate randread 4k 1)
qd32=$(rate randread 4k 32)
sequential=$(rate read 128k 4)
path=$("$warmblk" list --json | jq -r '.[0].data')
echo "| $kernel | $codec | $qd1 | $qd32 | $sequential | $path |"
"$warmblk" del --all

#!/usr/bin/env bash
# Writes to a blank disk, in the guest: bench-write.sh WARMBLK append|sparse tmpfs|ext4 prints one row of the table.
# shellcheck source-path=SCRIPTDIR
set -euo pipefail
# shellcheck source=bench-guest.sh
. "$(dirname "$0")/bench-guest.sh"
warmblk=$1 kind=$2 place=$3

case $place in
  tmpfs)
    mkdir -p /run/layers
    mount -t tmpfs -o size=1200m tmpfs /run/layers
    ;;
  ext4) ram_disk_mib=900 && ram_disk ;;
esac

# new_disk: makes device, all of which was written: what is measured is writing, not the first touch of every part of the index.
new_disk() {
  local words=()
  [[ $kind == append ]] || words=(--sparse)
  "$warmblk" create --size 256M "${words[@]}" -o /run/layers/disk >/dev/null
  device=$("$warmblk" add --config /run/layers/disk/image.json --queues 1)
  dd if=/dev/zero of="$device" bs=1M count=256 oflag=direct status=none
}

# rate FIELD WORDS...: requests a second that fio counts as FIELD.
rate() {
  local field=$1
  shift
  fio --name=job --filename="$device" --direct=1 --norandommap --ramp_time=0.3 --runtime=1.5 --time_based \
    --output-format=json "$@" |
    jq -r ".jobs[0].$field | if .iops > 0 then .iops | round else error(\"fio did nothing\") end"
}
uring=(--ioengine=io_uring)

new_disk
qd1=$(rate write "${uring[@]}" --rw=randwrite --bs=4k --iodepth=1 --size=64M)
qd32=$(rate write "${uring[@]}" --rw=randwrite --bs=4k --iodepth=32 --size=64M)
sync=$(rate write --ioengine=sync --rw=randwrite --bs=4k --fdatasync=1 --size=64M)
read1=$(rate read "${uring[@]}" --rw=randread --bs=4k --iodepth=1 --size=64M)
read32=$(rate read "${uring[@]}" --rw=randread --bs=4k --iodepth=32 --size=64M)
# What was overwritten takes room: not all that is measured fits on one.
"$warmblk" del --all
rm -r /run/layers/disk
new_disk
sequential=$(rate write "${uring[@]}" --rw=write --bs=128k --iodepth=4)
echo "| $kind, $place | $qd1 | $qd32 | $sequential | $sync | $read1 | $read32 |"
"$warmblk" del --all

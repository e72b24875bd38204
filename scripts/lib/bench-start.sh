#!/usr/bin/env bash
# Starts of devices, in the guest: bench-start.sh WARMBLK IMAGE KERNEL CLOCK prints one row of the table.
# shellcheck source-path=SCRIPTDIR
set -euo pipefail
# shellcheck source=bench-guest.sh
. "$(dirname "$0")/bench-guest.sh"
image=$2 kernel=$3 clock=$4

layers_on_ram_disk "$image"
# In memory, as an installed program is after its first start.
cp "$1" /run/program
warmblk=/run/program

now_ms() { echo $(($(date +%s%N) / 1000000)); }
add_and_read() {
  local device
  device=$("$warmblk" add --config "$config")
  dd if="$device" of=/dev/null bs=4k count=1 iflag=direct status=none
  echo "$device"
}
# private_kib PID: anonymous memory of a process.
private_kib() { awk '/^Anonymous:/ { print $2 }' "/proc/$1/smaps_rollup"; }

# Once without looking: libraries and programs that are not in memory yet come from the host, and counted time jumps
# ahead while nothing but the host works.
for program in "$warmblk list" "dd --version" "date" "fio --version" "jq --version"; do $program >/dev/null; done
add_and_read >/dev/null || true
"$warmblk" del --all

times=()
for _ in 1 2 3 4 5 6 7; do
  began=$(now_ms)
  add_and_read >/dev/null
  times+=($(($(now_ms) - began)))
  "$warmblk" del --all
done
p50=$(printf '%s\n' "${times[@]}" | sort -n | sed -n 4p)

began=$(now_ms)
workers=()
for _ in $(seq 20); do
  add_and_read >/dev/null &
  workers+=($!)
done
for worker in "${workers[@]}"; do wait "$worker"; done
twenty=$(($(now_ms) - began))
"$warmblk" del --all

device=$(add_and_read)
pid=$("$warmblk" list --json | jq -r '.[0].pid')
idle=$(private_kib "$pid")
fio --name=use --filename="$device" --readonly --direct=1 --ioengine=io_uring --rw=randread --bs=256k --iodepth=64 \
  --runtime=1 --time_based --output-format=json >/dev/null
sleep 4
after=$(private_kib "$pid")
"$warmblk" del --all
echo "| $kernel | $clock | $p50 ms | $twenty ms | $idle KiB | $after KiB |"

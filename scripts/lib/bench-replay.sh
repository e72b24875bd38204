# shellcheck shell=bash
# The start that scripts/bench measures from a registry, in the guest: what bench-remote.sh and bench-cold.sh share.
# shellcheck source-path=SCRIPTDIR
# shellcheck source=bench-guest.sh
. "$(dirname "${BASH_SOURCE[0]}")/bench-guest.sh"
# shellcheck source=bench-registry.sh
. "$(dirname "${BASH_SOURCE[0]}")/bench-registry.sh"

# prepare_start WARMBLK REMOTE LOCAL: puts everything where the guest has it in memory, and starts the registry. REMOTE is
# bench/remote, LOCAL the same image as files; warmblk is the program then, /run/lz4.json the image, /run/reads the reads.
prepare_start() {
  layers_on_ram_disk "$3"
  cp "$1" /run/program
  # shellcheck disable=SC2034 # for the script that reads this file
  warmblk=/run/program
  cp "$2/lz4.json" "$2/reads" /run/
  start_registry "$2/blobs" /run/lz4.json
}

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

# megabytes BYTES, times_needed BYTES: so many MB, and how many times what the reads need, which is in `needed`.
megabytes() { awk -v bytes="$1" 'BEGIN { printf "%.1f", bytes / 1e6 }'; }
# shellcheck disable=SC2154 # set by the script that reads this file
times_needed() { awk -v a="$1" -v b="$needed" 'BEGIN { printf "%.2f", a / b }'; }

#!/usr/bin/env bash
# Reads of what no trace names, alone and beside a prefetch of 190 MiB, in the guest: bench-beside.sh WARMBLK REMOTE LINK prints a
# row of the table. REMOTE is bench/remote, LINK `loopback` or `far` (a round trip of 21 ms and 200 Mbit/s).
# shellcheck source-path=SCRIPTDIR
set -euo pipefail
# shellcheck source=bench-guest.sh
. "$(dirname "$0")/bench-guest.sh"
# shellcheck source=bench-registry.sh
. "$(dirname "$0")/bench-registry.sh"
remote=$2 link=$3

cp "$1" /run/program
warmblk=/run/program
ram_disk
cp "$remote/large.json" /run/
start_registry "$remote/blobs" /run/large.json
[[ $link != far ]] || link_like 10.5ms 200mbit 1500

# read_cold DEVICE: median and 95th percentile of 200 reads of 4 KiB behind the part that is prefetched, in ms.
read_cold() {
  fio --name=cold --filename="$1" --direct=1 --ioengine=psync --thread --rw=randread --bs=4k --offset=200M --size=56M \
    --number_ios=200 --randseed=7 --output-format=json |
    jq -r '.jobs[0].read.clat_ns.percentile | [."50.000000", ."95.000000"] | map(. / 1e5 | round / 10) | join(" ")'
}

# fetched: MB that the prefetch has brought; what the server says is up to a second old.
fetched() { "$warmblk" stats -n 0 --json | jq '.warm.fetchedBytes / 1e6'; }

device=$("$warmblk" add --config /run/large.json --cache /run/layers/alone)
alone=$(read_cold "$device")
"$warmblk" del --all
echo "0 $((190 << 20))" >/run/named
device=$("$warmblk" add --config /run/large.json --cache /run/layers/beside --trace /run/named --warm=background)
sleep 1.5
before=$(fetched) began=$(now_ms)
beside=$(read_cold "$device")
rate=$(awk -v before="$before" -v after="$(fetched)" -v ms=$(($(now_ms) - began)) \
  'BEGIN { printf "%.1f", (after - before) / ms * 1000 }')
"$warmblk" del --all
echo "| $link | ${alone% *} ms | ${beside% *} ms | ${alone#* } ms | ${beside#* } ms | $rate MB/s |"

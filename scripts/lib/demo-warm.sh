#!/usr/bin/env bash
# The end of scripts/demo: the image in a registry that is 21 ms away, started cold and warmed.
# demo-warm.sh WARMBLK CONFIG, as root, in a network namespace of its own (unshare -n): what it does to the network is gone
# with that. On every way out nothing else is left behind either.
# shellcheck source-path=SCRIPTDIR
set -euo pipefail
# shellcheck source=registry.sh
. "$(dirname "$0")/registry.sh"
warmblk=$1 config=$2 work="" mounted="" added=""

# shellcheck disable=SC2317 # called by the trap
clean_up() {
  [[ -z $mounted ]] || umount "$work/mnt" || true
  [[ -z $added ]] || "$warmblk" del -n "${added#/dev/ublkb}" --force || true
  [[ ! -s $work/nginx/pid ]] || kill "$(cat "$work/nginx/pid")" || true
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# start_registry: serves the layers as blobs, with a line in $work/requests for each request; $work/image.json names them.
start_registry() {
  local file digest lowers=()
  mkdir -p "$work/blobs" "$work/nginx"
  while IFS= read -r file; do
    digest=sha256:$(sha256sum <"$file" | cut -c -64)
    ln -s "$file" "$work/blobs/$digest"
    lowers+=("{\"digest\": \"$digest\", \"size\": $(stat -c %s "$file")}")
  done < <(layer_files)
  local IFS=,
  echo "{\"repoBlobUrl\": \"http://127.0.0.1:5000/v2/demo/blobs\", \"lowers\": [${lowers[*]}]}" >"$work/image.json"
  registry_config "$work" "$work/blobs" demo "$work/requests" >"$work/nginx/nginx.conf"
  PATH=$PATH:/usr/sbin nginx -c "$work/nginx/nginx.conf" -p "$work/nginx" || {
    echo "demo: nginx does not start: its reason is above." >&2
    exit 1
  }
}

# layer_files: the files of the image's layers, bottom to top.
layer_files() { sed -n 's/.*"file" *: *"\([^"]*\)".*/\1/p' "$config"; }

# go_far: from now on the registry is 21 ms and 200 Mbit/s away.
go_far() {
  link_like 10.5ms 200mbit 1500 || {
    echo "demo: this kernel cannot make a link slow (sch_netem), without which there is nothing to compare." >&2
    exit 1
  }
}

seconds() { printf '%d.%d s' $(($1 / 1000)) $(($1 % 1000 / 100)); }

# start WORD...: adds a device, mounts it, reads the files of $work/files, and takes it away; leaves the milliseconds until
# it was handed over in added_ms, and of all in all_ms.
start() {
  local began
  began=$(now_ms)
  added=$("$warmblk" add --read-only "$@" 2>"$work/said") || {
    cat "$work/said" >&2
    exit 1
  }
  added_ms=$(($(now_ms) - began))
  mount -o ro "$added" "$work/mnt"
  mounted=1
  # The first start chooses the files: one of twelve.
  [[ -s $work/files ]] || (cd "$work/mnt" && find . -type f | LC_ALL=C sort | awk 'NR % 12 == 0') >"$work/files"
  (cd "$work/mnt" && xargs -d '\n' cat) <"$work/files" >/dev/null
  all_ms=$(($(now_ms) - began))
  umount "$work/mnt"
  mounted=""
  "$warmblk" del -n "${added#/dev/ublkb}"
  added=""
}

work=$(mktemp -d)
mkdir "$work/mnt"
ip link set lo up
start_registry
start --config "$config" --record "$work/start.trace"
go_far
printf '\nThe same layers in a registry with a round trip of 21 ms and 200 Mbit/s; a start mounts the disk and reads %d files.\n' \
  "$(wc -l <"$work/files")"
printf '\n$ warmblk add --config registry.json\n'
start --config "$work/image.json" --cache "$work/cold"
cold_ms=$all_ms cold_start_ms=$((all_ms - added_ms))
printf '%s until all files are read, %s of it after the disk was handed over; %d requests\n' \
  "$(seconds "$cold_ms")" "$(seconds "$cold_start_ms")" "$(wc -l <"$work/requests")"
printf '\n$ warmblk add --config registry.json --trace start.trace --warm=wait\n'
start --config "$work/image.json" --cache "$work/wait" --trace "$work/start.trace" --warm=wait
cat "$work/said"
printf '%s until all files are read, %s of it after the disk was handed over, warm\n' \
  "$(seconds "$all_ms")" "$(seconds "$((all_ms - added_ms))")"
awk -v cold="$cold_start_ms" -v warmed="$((all_ms - added_ms))" \
  'BEGIN { printf "After the hand-over %.1f times as fast\n", cold / warmed }'

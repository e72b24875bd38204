#!/usr/bin/env bash
# The part of scripts/demo that needs a kernel with ublk: demo-device.sh WARMBLK CONFIG LIST
# Adds the image as a device, mounts it, compares every file with LIST (what lib/tree-list made of its source), shows
# what there is to see, and deletes it. On every way out nothing is left behind.
set -euo pipefail
warmblk=$1 config=$2 list=$3 lib=${0%/*} device="" mount_point=""

# shellcheck disable=SC2317 # called by the trap
clean_up() {
  if [[ -n $mount_point ]]; then
    ! mountpoint -q "$mount_point" || umount "$mount_point" || true
    rmdir "$mount_point" || true
  fi
  [[ -z $device ]] || "$warmblk" del -n "${device#/dev/ublkb}" --force || true
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# told COMMAND...: prints the command as a person would type it, and runs it.
told() {
  printf '\n$ %s\n' "${*/#"$warmblk"/warmblk}"
  "$@"
}

printf '\n$ warmblk add --config %s --read-only\n' "$config"
device=$("$warmblk" add --config "$config" --read-only)
echo "$device"

mount_point=$(mktemp -d)
told mount -o ro "$device" "$mount_point"
told lsblk "$device"

printf '\n$ sha256sum every file, and compare with its source\n'
"$lib/tree-list" "$mount_point" | diff "$list" - || {
  echo "demo: the device does not show what its source holds: the differences are above." >&2
  exit 1
}
echo "$(wc -l <"$list") files and $(du -sh --apparent-size "$mount_point" | cut -f1): every one is the same as its source, and there is no other"

told "$warmblk" list
told umount "$mount_point"
told "$warmblk" del -n "${device#/dev/ublkb}"
gone=$device device=""
[[ ! -e $gone ]] || {
  echo "demo: $gone is still there after 'warmblk del'." >&2
  exit 1
}

unshare -n bash "$lib/demo-warm.sh" "$warmblk" "$config"

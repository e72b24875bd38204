#!/usr/bin/env bash
# The part of scripts/demo that needs a kernel with ublk: demo-device.sh WARMBLK CONFIG TREE
# Adds the image as a device, mounts it, compares every file with TREE, shows what there is to see, and deletes it.
# On every way out nothing is left behind.
set -euo pipefail
warmblk=$1 config=$2 tree=$3 device="" mount_point=""

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
told lsblk -o NAME,SIZE,RO,FSTYPE,LABEL,MOUNTPOINTS "$device"

printf '\n$ diff -r %s %s\n' "$tree" "$mount_point"
diff -r --no-dereference --exclude=lost+found "$tree" "$mount_point" || {
  echo "demo: the device does not show what its source holds: the differences are above." >&2
  exit 1
}
find "$mount_point" -type f -printf '%s\n' |
  awk '{ bytes += $1 } END { printf "%d files, %.1f MiB: every one is the same as its source\n", NR, bytes / 1048576 }'

told "$warmblk" list
told umount "$mount_point"
told "$warmblk" del -n "${device#/dev/ublkb}"
gone=$device device=""
[[ ! -e $gone ]] || {
  echo "demo: $gone is still there after 'warmblk del'." >&2
  exit 1
}

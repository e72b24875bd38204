# shellcheck shell=bash
# What the measurements in the guest share.

# ram_disk: mounts an empty ext4 on a RAM disk of ram_disk_mib MiB, 640 if that is not set, at /run/layers.
ram_disk() {
  modprobe brd rd_nr=1 rd_size=$((${ram_disk_mib:-640} << 10))
  mkfs.ext4 -q -O ^has_journal /dev/ram0
  mkdir -p /run/layers
  mount /dev/ram0 /run/layers
}

# layers_on_ram_disk DIR: copies an image to ext4 on a RAM disk, with a warm page cache; config is its image.json.
layers_on_ram_disk() {
  ram_disk
  cp -r "$1/." /run/layers/
  # shellcheck disable=SC2034 # for the script that reads this file
  config=/run/layers/4/image.json
  sed -i "s#\"$1/#\"/run/layers/#" "$config"
  # Otherwise the kernel writes the copies to the disk while something is measured.
  sync
  cat /run/layers/*/overlaybd.commit >/dev/null
}

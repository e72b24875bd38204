# shellcheck shell=bash
# The parts of a running virtual machine: its initial RAM disk, the host's files, and QEMU. Needs say.sh and
# kernels.sh. All of it lives in one directory that is gone afterwards.

# make_initrd KERNEL_DIR WORK INIT: WORK/initrd, with INIT as its process 1 and the modules that it needs to see
# the host's files, in loading order. Not compressed: unpacking in the guest takes longer than making it here.
make_initrd() {
  local tree dir=$2/initrd.d module kind path _
  mkdir -p "$dir"/{bin,dev,proc,sys,root,lower,upper,control,modules}
  cp "$(command -v busybox)" "$dir/bin/busybox"
  cp "$3" "$dir/init"
  : >"$dir/modules/order"
  tree=$(module_tree "$1")
  if [[ -n $tree ]]; then
    for module in overlay virtio_pci virtiofs virtio-rng; do
      while read -r kind path _; do
        [[ $kind == insmod ]] || continue
        module_to_initrd "$path" "$dir/modules"
      done < <(modprobe -C /dev/null -d "${tree%/lib/modules/*}" -S "${tree##*/}" --show-depends "$module" 2>/dev/null || true)
    done
  fi
  (cd "$dir" && find . -print0 | cpio -0 -o -H newc --quiet) >"$2/initrd"
}

# module_to_initrd FILE DIR: a module, unpacked, and its name at the end of DIR/order, once.
module_to_initrd() {
  local name=${1##*/}
  name=${name%%.ko*}.ko
  [[ ! -e $2/$name ]] || return 0
  case $1 in
    *.xz) xz -dc "$1" ;;
    *.zst) zstd -dqc "$1" ;;
    *.gz) gzip -dc "$1" ;;
    *) cat "$1" ;;
  esac >"$2/$name"
  echo "$name" >>"$2/order"
}

# find_virtiofsd: Debian 12 has the C program in qemu-system-common, later ones the Rust program in a package.
find_virtiofsd() {
  local file
  for file in /usr/libexec/virtiofsd /usr/lib/qemu/virtiofsd; do
    [[ ! -x $file ]] || { echo "$file" && return; }
  done
}

# share_directory TAG DIR CACHE WORK: starts the server of one shared directory. Sets share_pid, and adds QEMU's
# words for it to machine_words.
share_directory() {
  local tag=$1 dir=$2 cache=$3 work=$4 server words
  server=$(find_virtiofsd)
  case $server in
    # The guest's overlay does not go into directories that are announced as mounts.
    */libexec/*) words=(--shared-dir "$dir" --cache "${cache/none/never}" --sandbox chroot --no-announce-submounts) ;;
    *) words=(-o "source=$dir" -o "cache=$cache" -o sandbox=chroot) ;;
  esac
  "$server" --socket-path="$work/$tag.socket" "${words[@]}" </dev/null >"$work/$tag.log" 2>&1 &
  share_pid=$!
  machine_words+=(-chardev "socket,id=$tag,path=$work/$tag.socket"
    -device "vhost-user-fs-pci,chardev=$tag,tag=$tag")
  local _
  for _ in {1..500}; do
    [[ ! -S $work/$tag.socket ]] || return 0
    kill -0 "$share_pid" 2>/dev/null || break
    sleep 0.01
  done
  cat "$work/$tag.log" >&2
  die 69 "$server does not serve $dir: its last words are above."
}

# add_disk FILE: a virtio disk. Writes go to the host's page cache, never to its disk: enough to survive the guest.
add_disk() {
  machine_words+=(-drive "file=${1//,/,,},format=raw,if=virtio,cache=unsafe,aio=threads,discard=unmap")
}

# The processor: the guest's programs, among them the Swift runtime, execute cmpxchg16b, so it must have it
# (-cpu max); QEMU's emulation of it corrupts the 6.12 kernel's memory allocator, so the kernel is told to do
# without (clearcpuid=cx16). Programs still see and use it.
# shellcheck disable=SC2034 # read by scripts/vm
machine_kernel_words="console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off nokaslr clearcpuid=cx16"

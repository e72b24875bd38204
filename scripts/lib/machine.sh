# shellcheck shell=bash
# The parts of a running virtual machine: its initial RAM disk, the host's files, and QEMU. Needs say.sh and
# kernels.sh. All of it lives in one directory that is gone afterwards.

# make_initrd KERNEL_DIR WORK INIT MODULE...: WORK/initrd, with INIT as its process 1, the modules that it needs to
# see the host's files, and MODULEs, in loading order. Not compressed: unpacking in the guest takes longer than making
# it here.
make_initrd() {
  local tree kernel_dir=$1 work=$2 init=$3 dir=$2/initrd.d module program
  shift 3
  mkdir -p "$dir"/{bin,dev,proc,sys,root,lower,upper,control,modules}
  cp "$(command -v busybox)" "$dir/bin/busybox"
  for program in cat hostname insmod ip ln mkdir mount poweroff switch_root; do ln -s busybox "$dir/bin/$program"; done
  cp "$init" "$dir/init"
  : >"$dir/modules/order"
  tree=$(module_tree "$kernel_dir")
  if [[ -n $tree ]]; then
    # What is missing here may be part of the kernel; if not, the guest says what it could not do without it.
    for module in overlay virtio_pci virtiofs virtio-rng; do add_module "$tree" "$module" "$dir/modules" || true; done
    for module; do
      add_module "$tree" "$module" "$dir/modules" || complain "this kernel has no module $module"
    done
  fi
  (cd "$dir" && find . -print0 | cpio -0 -o -H newc --quiet) >"$work/initrd"
}

# add_module TREE NAME DIR: a module and those that it needs, into an initial RAM disk.
add_module() {
  local tree=$1 plan kind path options
  plan=$(modprobe -C /dev/null -d "${tree%/lib/modules/*}" -S "${tree##*/}" --show-depends "$2" 2>/dev/null) || return
  while read -r kind path options; do
    [[ $kind != insmod ]] || module_to_initrd "$path" "$3" "$options"
  done <<<"$plan"
}

# module_to_initrd FILE DIR OPTIONS: a module, unpacked, and a line for it at the end of DIR/order, once.
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
  echo "$name $3" >>"$2/order"
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
machine_kernel_words="console=ttyS0 quiet loglevel=4 panic=-1 cryptomgr.notests mitigations=off nokaslr clearcpuid=cx16"

# shellcheck shell=bash
# Debian packages: installed when they are missing, left alone when they are there.
# shellcheck disable=SC2034 # the lists are for the scripts that read this file

packages_to_build=(liburing-dev libzstd-dev liblz4-dev libcurl4-openssl-dev pkg-config)
packages_to_boot=(qemu-system-x86 qemu-system-common busybox-static kmod cpio xz-utils zstd procps)
packages_to_measure=(e2fsprogs fio jq iproute2 nginx-light curl openssl)
packages_to_test=(jq e2fsprogs erofs-utils xfsprogs btrfs-progs fio util-linux fdisk iproute2 python3 strace dmsetup
  docker-registry skopeo nginx-light apache2-utils openssl curl)

packages_missing() {
  local -A there=()
  local name state
  while read -r name state; do
    [[ $state == installed ]] && there[$name]=1
  done < <(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "$@" 2>/dev/null || true)
  for name; do [[ -n ${there[$name]-} ]] || echo "$name"; done
}

# need_packages NAME...: returns when all of them are installed.
need_packages() {
  [[ $(type -P apt-get dpkg-query | wc -l) == 2 ]] ||
    die 69 "this needs the Debian packages $*, and there is no apt-get here to install them."
  local missing
  mapfile -t missing < <(packages_missing "$@")
  ((${#missing[@]})) || return 0
  ((EUID == 0)) ||
    die 77 "these packages are missing: ${missing[*]}. Run this once as root, or 'apt-get install ${missing[*]}'."
  note "installing ${missing[*]}"
  local log
  log=$(mktemp)
  # Two scripts may come here at once: apt waits for its own lock instead of giving up.
  if ! { apt-get -q -o DPkg::Lock::Timeout=300 update &&
    without_services env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 \
      --no-install-recommends install "${missing[@]}"; } >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    die 69 "apt-get could not install ${missing[*]}: its last words are above."
  fi
  rm -f "$log"
}

# without_services COMMAND...: what COMMAND installs does not start its services. The registry and the web server are run
# by the tests, in the guest; nobody wants them on this machine's ports.
without_services() {
  local policy=/usr/sbin/policy-rc.d status=0
  if [[ -e $policy ]]; then
    "$@"
    return
  fi
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
  "$@" || status=$?
  rm -f "$policy"
  return "$status"
}

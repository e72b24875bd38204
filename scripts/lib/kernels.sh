# shellcheck shell=bash
# The kernels that the virtual machine boots: Debian's own, which carry ublk_drv as a module, made once into
#   ${WARMBLK_VM:-~/.cache/warmblk/vm}/NAME/{vmlinuz,release,modules/lib/modules/RELEASE}
# A directory of that form, or one that `make modules_install INSTALL_MOD_PATH=DIR` filled, with its vmlinuz or
# bzImage beside it, is used as it is. Needs say.sh and packages.sh.

# The project's two kernels: the long-term one of Debian 13, and the newest 7.x of Debian 13's backports, which
# was 7.3 when it got its name here.
kernel_names=(6.12 7.3)

kernel_cache() { echo "${WARMBLK_VM:-$HOME/.cache/warmblk/vm}"; }

# kernel_directory NAME|DIR: prints the directory of a kernel, making one of the project's own if need be.
kernel_directory() {
  local wanted=$1 dir
  if [[ $wanted == */* ]]; then
    [[ -d $wanted ]] || die 66 "$wanted: no such kernel directory."
    dir=$(readlink -f "$wanted")
  else
    dir=$(kernel_cache)/$wanted
    kernel_is_made "$dir" || case " ${kernel_names[*]} " in
      *" $wanted "*) make_kernel "$wanted" ;;
      *) die 66 "no kernel '$wanted' in $(kernel_cache). There are ${kernel_names[*]}, made on first use; a directory needs a slash in its name." ;;
    esac
    dir=$(readlink -f "$dir")
  fi
  [[ -r $(kernel_image "$dir") ]] || die 66 "$dir holds no vmlinuz or bzImage."
  echo "$dir"
}

kernel_is_made() { [[ -r $1/vmlinuz && -n $(module_tree "$1") ]]; }

# kernel_image DIR: the file to boot.
kernel_image() {
  local file=$1/vmlinuz
  [[ -r $file ]] || file=$1/bzImage
  echo "$file"
}

# module_tree DIR: the .../lib/modules/RELEASE of a kernel directory; nothing where it has no modules.
module_tree() {
  local trees=()
  shopt -s nullglob
  trees=("$1"/modules/lib/modules/*/modules.dep "$1"/lib/modules/*/modules.dep)
  shopt -u nullglob
  ((${#trees[@]} <= 1)) || die 65 "$1 holds modules of several releases: keep one of ${trees[*]%/modules.dep}."
  [[ ${#trees[@]} == 0 ]] || dirname "${trees[0]}"
}

# make_kernel NAME: from the packages of the Debian archive that this machine's apt already uses. Safe when several
# runs do it at once (one makes, the others wait), and when it is interrupted (nothing half-made has the name).
make_kernel() {
  local name=$1 cache
  [[ $(uname -m) == x86_64 ]] || die 69 "the project's kernels are for x86-64, and this is $(uname -m): give a kernel directory of your own."
  cache=$(kernel_cache)
  mkdir -p "$cache"
  cache=$(readlink -f "$cache")
  (
    if ! flock -n 9; then
      note "another run is making kernels in $cache: waiting for it"
      flock 9
    fi
    ! kernel_is_made "$cache/$name" || exit 0
    rm -rf "$cache"/.making.*
    making=$(mktemp -d "$cache/.making.XXXXXX")
    trap 'rm -rf "$making"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    note "making kernel $name from Debian's packages, once"
    fetch_kernel "$name" "$making" || exit
    rm -rf "${cache:?}/$name"
    mv -T "$making/made" "$cache/$name"
    note "made kernel $name: $(cat "$cache/$name/release"), $(du -sh "$cache/$name" | cut -f1) in $cache/$name"
  ) 9>"$cache/.lock"
}

# fetch_kernel NAME DIR: leaves the finished kernel in DIR/made.
fetch_kernel() {
  local name=$1 dir=$2 suite archive package release packages=() suites=() prefix
  case $name in
    # In Debian 12's backports, and Debian 13's own.
    6.12) suites=(bookworm-backports trixie) prefix=linux-image-6.12. ;;
    7.3) suites=(trixie-backports) prefix=linux-binary-7. ;;
  esac
  archive=$(debian_archive)
  [[ -n $archive ]] || die 69 "there is no Debian archive among this machine's apt sources, so there is nothing to make kernel $name from. Give a kernel directory of your own."
  for suite in "${suites[@]}"; do
    private_apt "$dir" "$archive" "$suite"
    apt-get -qq update >"$dir/log" 2>&1 || continue
    package=$(newest_package "$prefix")
    [[ -z $package ]] || break
  done
  [[ -n ${package-} ]] || {
    cat "$dir/log" >&2
    die 69 "no package $prefix*-cloud-amd64 in ${suites[*]} of this machine's Debian archive."
  }
  release=${package#linux-image-} release=${release#linux-binary-}
  packages=("$package")
  # From 7.x on the modules are in packages of their own.
  [[ $package != linux-binary-* ]] || packages+=("linux-modules-$release" "linux-base-$release")
  mkdir "$dir/packages" "$dir/files"
  for package in "${packages[@]}"; do
    (cd "$dir/packages" && apt-get -qq download "$package") >"$dir/log" 2>&1 || {
      cat "$dir/log" >&2
      die 69 "apt-get could not download $package."
    }
    dpkg-deb -x "$dir/packages/$package"_*.deb "$dir/files"
  done
  arrange_kernel "$dir/files" "$dir/made" "$release"
  [[ $release == "$name".* ]] || complain "kernel $name is $release: the archive has no $name any more."
}

# arrange_kernel FILES MADE RELEASE: from unpacked packages to a kernel directory.
arrange_kernel() {
  local files=$1 made=$2 release=$3 image tree part
  image=$(find "$files" -type f -name 'vmlinuz*' -print -quit)
  [[ -n $image ]] || die 69 "the packages of kernel $release hold no vmlinuz."
  tree=$made/modules/lib/modules/$release
  mkdir -p "$tree"
  cp "$image" "$made/vmlinuz"
  while read -r part; do cp -a "$part/." "$tree/"; done < <(find "$files" -type d -path "*/modules/$release")
  rm -f "$tree/vmlinuz" "$tree/System.map"
  # Unpacked, because an emulated guest would take seconds to do it at each start.
  find "$tree" -name '*.ko.xz' -print0 | xargs -0r -P2 -n64 xz -d
  PATH=$PATH:/usr/sbin:/sbin depmod -b "$made/modules" "$release"
  echo "$release" >"$made/release"
}

# debian_archive: the address of the Debian archive, as this machine's apt sources have it.
debian_archive() {
  # shellcheck disable=SC2016 # the words are apt's
  apt-get indextargets --format '$(LABEL)|$(REPO_URI)' 'Created-By: Packages' | sed -n 's/^Debian|//p' | sort -u | sed -n 1p
}

# private_apt DIR ARCHIVE SUITE: from here on apt reads one suite, and keeps its lists in DIR: the machine's own
# package lists stay as they are, and nothing here needs root.
private_apt() {
  local dir=$1/apt
  rm -rf "$dir"
  mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
  echo "deb $2 $3 main" >"$dir/sources.list"
  cat >"$dir/apt.conf" <<CONF
Dir::Etc::sourcelist "$dir/sources.list";
Dir::Etc::sourceparts "-";
Dir::State::lists "$dir/lists";
Dir::Cache "$dir/cache";
Acquire::Languages "none";
APT::Sandbox::User "root";
CONF
  export APT_CONFIG=$dir/apt.conf
}

# newest_package PREFIX: the newest cloud kernel whose name begins so. The cloud flavour is small and has ublk_drv.
newest_package() {
  apt-cache search --names-only "^${1//./\\.}[0-9.]+\\+deb[0-9]+-cloud-amd64\$" | cut -d' ' -f1 | sort -V | tail -n 1
}

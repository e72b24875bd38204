# shellcheck shell=bash
# Makes the image that scripts/demo shows: an ext4 file system of this machine's own files in three states, each of
# which is a layer. Needs say.sh; warmblk is the program, demo the directory that all of it is in, lib
# this directory.
# shellcheck disable=SC2154 # warmblk, demo and lib are set by the script

demo_size_mib=256

# make_demo_image: leaves three layers in demo/1, demo/2 and demo/3, of which the last one's image.json names all, and
# demo/source.sha256, the list of what they must show.
make_demo_image() {
  local stamp
  stamp=$(cat "$warmblk" "${BASH_SOURCE[0]}" | sha256sum)
  if [[ $(cat "$demo/stamp" 2>/dev/null) == "$stamp" ]]; then
    note "the image of the last run is current: $(layer_sizes)"
    return
  fi
  rm -rf "$demo"
  mkdir -p "$demo"
  choose_files
  make_first_state
  add_layer 1 none
  change_state 3 7 'demo/second'
  add_layer 2 lz4 --parent "$demo/1/image.json"
  change_state 4 5 'demo/third'
  add_layer 3 zstd --parent "$demo/2/image.json"
  "$lib/tree-list" "$demo/tree" >"$demo/source.sha256"
  rm -rf "$demo/tree" "$demo/state.ext4" "$demo"/files.* "$demo"/*.log
  echo "$stamp" >"$demo/stamp"
}

# choose_files: demo/files.first and demo/files.later, lists of this machine's programs, libraries and data. Only
# plain names: they are also written into debugfs's commands.
choose_files() {
  local dir
  note "choosing files of this machine"
  for dir in /usr/bin /usr/lib /usr/share; do
    # awk reads to the end, so that find and sort do not die of a closed pipe.
    find "$dir" -xdev -maxdepth 4 -type f -readable -size -3M -regex '[A-Za-z0-9/._+-]*' -printf '%s %P\n' 2>/dev/null | LC_ALL=C sort -k 2 |
      awk -v dir="$dir" -v limit=$((12 << 20)) -v first="$demo/files.first" -v later="$demo/files.later" '
        { total += $1 }
        total < limit { print dir "/" $2 >>first; next }
        total < limit * 1.3 { print dir "/" $2 >>later }'
  done
  [[ -s $demo/files.later ]] || die 66 "found too few files below /usr to make an image of."
}

make_first_state() {
  note "first state: $(wc -l <"$demo/files.first") files, ext4 of $demo_size_mib MiB by mke2fs -d"
  mkdir "$demo/tree"
  # Each name a file of its own: a change of one must not be a change of its hard links.
  tar -C / --hard-dereference -cf - -T <(sed 's|^/||' "$demo/files.first") | tar -C "$demo/tree" -xf -
  mkdir "$demo/tree/demo"
  truncate -s "${demo_size_mib}M" "$demo/state.ext4"
  PATH=$PATH:/usr/sbin:/sbin mke2fs -q -F -t ext4 -E root_owner=0:0 -L warmblk-demo \
    -d "$demo/tree" "$demo/state.ext4"
}

# change_state DELETE CHANGE DIR: deletes each DELETE-th file, appends to each CHANGE-th of the others, and adds new
# ones below DIR, in the tree and, as a mounted file system would, in place in the ext4.
change_state() {
  local file number=0 deleted=0 changed=0 added=0 commands=$demo/files.commands
  mkdir -p "$demo/tree/$3"
  echo "mkdir /$3" >"$commands"
  while read -r file; do
    number=$((number + 1))
    if ((number % $1 == 0)); then
      echo "rm /$file" >>"$commands"
      echo "$demo/tree/$file" >>"$demo/files.deleted"
      deleted=$((deleted + 1))
    elif ((number % $2 == 0)); then
      echo "changed for $3" >>"$demo/tree/$file"
      printf 'rm /%s\nwrite %s /%s\n' "$file" "$demo/tree/$file" "$file" >>"$commands"
      changed=$((changed + 1))
    fi
  done < <(cd "$demo/tree" && find usr -type f | LC_ALL=C sort)
  xargs -d '\n' rm <"$demo/files.deleted"
  rm "$demo/files.deleted"
  while read -r file; do
    added=$((added + 1))
    cp "$file" "$demo/tree/$3/$added-${file##*/}"
    echo "write $file /$3/$added-${file##*/}" >>"$commands"
  done < <(awk -v turn="$1" 'NR % 7 == turn' "$demo/files.later")
  PATH=$PATH:/usr/sbin:/sbin debugfs -w -f "$commands" "$demo/state.ext4" >"$demo/debugfs.log" 2>&1 ||
    die 70 "debugfs could not change the state: see $demo/debugfs.log."
  note "next state: $deleted files deleted, $changed changed, $added added"
}

# add_layer NUMBER COMPRESSION OPTION...: the state as a layer in demo/NUMBER.
add_layer() {
  local number=$1 compression=$2
  shift 2
  "$warmblk" import "$demo/state.ext4" -o "$demo/$number" --compress "$compression" "$@" >"$demo/import.log" ||
    die 70 "warmblk import failed: its message is above."
  note "layer $number, compression $compression: $(du -sh "$demo/$number" | cut -f1)"
}

layer_sizes() {
  local number
  for number in 1 2 3; do printf 'layer %s %s  ' "$number" "$(du -sh "$demo/$number" | cut -f1)"; done
}

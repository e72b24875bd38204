# shellcheck shell=bash
# Makes the images that scripts/bench reads: 256 MiB of ext4 with files of this machine in four layers, once for each
# codec. Needs say.sh; warmblk is the program, bench the directory that all of it is in.
# shellcheck disable=SC2154 # warmblk and bench are set by the script

# make_bench_images: leaves bench/{none,lz4,zstd}/4/image.json, and sizes and paths of the files in bench/files.
make_bench_images() {
  local stamp layer codec parent
  stamp=$(sha256sum <"${BASH_SOURCE[0]}")
  [[ $(cat "$bench/stamp" 2>/dev/null) != "$stamp" ]] || return 0
  note "making images of this machine's files"
  rm -rf "$bench"
  mkdir -p "$bench/tree"
  for layer in 1 2 3 4; do
    add_files "$layer"
    truncate -s 256M "$bench/$layer.raw"
    mke2fs -q -t ext4 -O ^has_journal -b 4096 -U 6f0d8b3e-52a1-4c57-9d0e-1b7a90c2e4f1 \
      -E hash_seed=6f0d8b3e-52a1-4c57-9d0e-1b7a90c2e4f1,lazy_itable_init=0 -d "$bench/tree" "$bench/$layer.raw"
  done
  for codec in none lz4 zstd; do
    parent=()
    for layer in 1 2 3 4; do
      "$warmblk" import "$bench/$layer.raw" -o "$bench/$codec/$layer" --compress "$codec" "${parent[@]}" >/dev/null
      parent=(--parent "$bench/$codec/$layer/image.json")
    done
  done
  (cd "$bench/tree" && find . -type f -printf '%s %P\n') >"$bench/files"
  rm -rf "$bench/tree" "$bench"/*.raw
  echo "$stamp" >"$bench/stamp"
}

# add_files LAYER: about 54 MiB of files, other ones for each layer, in a fixed order.
add_files() {
  mkdir "$bench/tree/$1"
  find /usr/bin /usr/sbin /usr/lib /usr/share -xdev -type f -readable -size +15k -size -8M -printf '%s %p\n' 2>/dev/null |
    LC_ALL=C sort -k 2 |
    awk -v from=$((($1 - 1) * 54)) -v to=$(($1 * 54)) '
      { total += $1 / 1048576; if (total > from && total <= to) { sub(/^[0-9]+ /, ""); print } }' |
    while IFS= read -r file; do cp --parents "$file" "$bench/tree/$1"; done
}

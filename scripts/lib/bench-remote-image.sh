# shellcheck shell=bash
# Makes what scripts/bench reads from a registry: the layers of bench-image.sh as blobs, reads as of a start, and one large
# blob. Needs say.sh and bench-image.sh; warmblk is the program, bench the directory that all of it is in.
# shellcheck disable=SC2154 # warmblk and bench are set by the script

# make_bench_blobs: leaves bench/remote with blobs/sha256:HEX, none.json, lz4.json, large.json, and reads.
make_bench_blobs() {
  local remote=$bench/remote stamp codec number lowers
  stamp=$(cat "${BASH_SOURCE[0]}" "$bench/stamp" | sha256sum)
  [[ $(cat "$remote/stamp" 2>/dev/null) != "$stamp" ]] || return 0
  note "making blobs and reads"
  rm -rf "$remote"
  mkdir -p "$remote/blobs"
  for codec in none lz4; do
    lowers=()
    for number in 1 2 3 4; do lowers+=("$(add_blob "$bench/$codec/$number/overlaybd.commit")"); done
    remote_config "${lowers[@]}" >"$remote/$codec.json"
  done

  "$warmblk" export "$bench/lz4/4/image.json" "$remote/raw" >/dev/null
  make_reads "$remote/raw" >"$remote/reads"
  # Noise, so that nothing on the way can make it smaller.
  head -c 256M /dev/zero | openssl enc -aes-128-ctr -K 00 -iv 00 -out "$remote/raw" 2>/dev/null
  "$warmblk" import "$remote/raw" -o "$remote/large" --compress none >/dev/null
  remote_config "$(add_blob "$remote/large/overlaybd.commit")" >"$remote/large.json"
  rm -r "$remote/raw" "$remote/large"
  echo "$stamp" >"$remote/stamp"
}

# add_blob FILE: links it to its name in the registry; prints its entry in `lowers`.
add_blob() {
  local digest
  digest=sha256:$(sha256sum <"$1" | cut -c -64)
  ln -f "$1" "$remote/blobs/$digest"
  printf '{"digest": "%s", "size": %s}\n' "$digest" "$(stat -c %s "$1")"
}

# remote_config LOWER...: the image's configuration.
remote_config() {
  local IFS=,
  echo "{\"repoBlobUrl\": \"http://127.0.0.1:5000/v2/bench/blobs\", \"lowers\": [$*]}"
}

# make_reads RAW: 1500 reads as of a start, one 'OFFSET LENGTH' a line. Files are chosen at random until they have 60 MB
# together. Each is read in as many places as its share of the bytes is: from its beginning, then half of the time
# a bit behind the last place and half of the time anywhere in it. The same on each machine that has the same image.
make_reads() {
  local raw=$1 paths
  paths=$(LC_ALL=C sort "$bench/files" | awk -v seed=20261124 '
    { size[NR] = $1; $1 = ""; path[NR] = substr($0, 2) }
    END {
      srand(seed)
      while (total < 60e6) {
        one = int(rand() * NR) + 1
        if (one in taken) continue
        taken[one] = 1
        total += size[one]
        print path[one]
      }
    }')
  sed 's/.*/blocks "\/&"/' <<<"$paths" | debugfs -f - "$raw" 2>/dev/null | grep -v '^debugfs:' | awk -v seed=20261124 -v block=4096 '
    function place(file, at, want,    first, count) {
      first = at
      for (count = 1; count * block < want && first + count <= blocks[file] && number[file, first + count] == number[file, first] + count; count++);
      if (printed < 1500) { print number[file, first] * block, count * block; printed++ }
      return first + count
    }
    NF { files++; blocks[files] = NF; all += NF; for (i = 1; i <= NF; i++) number[files, i] = $i }
    END {
      srand(seed)
      split("4096 4096 8192 8192 16384 32768 65536", lengths, " ")
      for (file = 1; file <= files; file++) {
        places = int(blocks[file] * 1530 / all + 0.999)
        at = 1
        for (i = 1; i <= places; i++) {
          at = place(file, at, lengths[int(rand() * 7) + 1])
          if (rand() < 0.5) at += int(rand() * 16)
          else at = int(rand() * blocks[file]) + 1
          if (at > blocks[file]) at = 1
        }
      }
    }'
}

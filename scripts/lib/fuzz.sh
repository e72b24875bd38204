# shellcheck shell=bash
# Builds the fuzzers of Tests/Fuzz and runs them. Needs say.sh and suites.sh; results is where logs go, filter and
# fuzz_seconds are options of scripts/test.
# shellcheck disable=SC2154 # those variables
#
# The compiler is called directly: SwiftPM would have to build every dependency of the package with a sanitizer's
# instrumentation, and the parsers need none of them.

fuzz_build=.build/fuzz
fuzz_flags=(-swift-version 6 -O -g -wmo -enable-testing -parse-as-library -assert-config Debug -D WARMBLK_CHECKS
  -sanitize=fuzzer -sanitize=address -use-ld=lld)
# What -sanitize=fuzzer alone instruments is of a kind that libFuzzer does not listen to any more.
fuzz_flags+=("-sanitize-coverage=edge,indirect-calls,trace-cmp,inline-8bit-counters,pc-table")

# Module, and its files. Of BlobStore and Image only what the parsing of configurations needs, which is pure, and of
# Registry what reads words of others.
fuzz_modules=(
  "Posix Sources/Posix/*.swift"
  "LSMT Sources/LSMT/*.swift"
  "ZFile Sources/ZFile/*.swift"
  "JSON Sources/JSON/*.swift"
  "Trace Sources/Trace/*.swift"
  "Registry Sources/Registry/Challenge.swift Sources/Registry/ContentRange.swift Sources/Registry/Credentials.swift Sources/Registry/CredentialFiles.swift Sources/Registry/BlobLocation.swift Sources/Registry/RegistryError*.swift Sources/Registry/ResponseHead.swift Sources/Registry/SignedURL.swift Sources/Registry/Text.swift Sources/Registry/WebAddress.swift"
  "BlobStore Sources/BlobStore/BlobError.swift Sources/BlobStore/ChunkMap.swift Sources/BlobStore/ChunkWord.swift"
  "Image Sources/Image/ImageConfig*.swift Sources/Image/ServiceConfig*.swift Sources/Image/JSON*.swift Sources/Image/ImageError.swift Sources/Image/Paths.swift"
)

# Fuzzer, the modules that it tests, in the order of linking, and the files of Tests/Fuzz besides its own and Support.
fuzzers=(
  "Config Posix LSMT ZFile JSON Trace Registry BlobStore Image"
  "LSMT LSMT MapChecks.swift"
  "Index LSMT MapChecks.swift"
  "ZFile ZFile"
  "Tar ZFile"
  "Trace ZFile JSON Trace"
  "Registry Posix JSON Registry ../RegistryTests/Support/ParserChecks.swift"
)

run_fuzzers() {
  local fuzzer words
  build_fuzz_modules || {
    count_step "fuzz: the modules do not build" 1
    return
  }
  for fuzzer in "${fuzzers[@]}"; do
    read -ra words <<<"$fuzzer"
    [[ "Fuzz.${words[0]}" =~ $filter ]] || continue
    if build_fuzzer "${words[@]}"; then run_fuzzer "${words[0]}"; else count_step "fuzz ${words[0]}: does not build" 1; fi
  done
}

# fuzz_compile ARGUMENT...: swiftc, where the modules and the C shims are found.
fuzz_compile() {
  local shim imports=()
  for shim in CShims/*/; do imports+=(-I "$shim"); done
  timeout -k 10 600 swiftc "${fuzz_flags[@]}" "${imports[@]}" -I "$fuzz_build" "$@"
}

# Each module whose sources are newer than what was built of it, and then all after it, because they may depend on it.
build_fuzz_modules() {
  local module name files sources changed=""
  command -v swiftc >/dev/null || die 69 "there is no Swift toolchain on the PATH. Swift 6.1 or later is needed."
  mkdir -p "$fuzz_build"
  for module in "${fuzz_modules[@]}"; do
    read -r name files <<<"$module"
    # shellcheck disable=SC2206 # patterns, to be expanded
    sources=($files)
    [[ -n $changed || -n $(find "${sources[@]}" CShims scripts/lib/fuzz.sh -newer "$fuzz_build/$name.o" 2>&1) ]] || continue
    changed=1
    note "fuzz: building $name"
    # The compiler leaves an object alone whose code it would write again, even if other instrumentation is wanted.
    rm -f "$fuzz_build/$name.o"
    fuzz_compile -module-name "$name" -emit-module -emit-module-path "$fuzz_build/$name.swiftmodule" \
      -c "${sources[@]}" -o "$fuzz_build/$name.o" || return
  done
}

# build_fuzzer NAME MODULE-OR-FILE...
build_fuzzer() {
  local name=$1 word inputs=(Tests/Fuzz/Support.swift "Tests/Fuzz/$1.swift")
  shift
  for word; do
    if [[ $word == *.swift ]]; then inputs+=("Tests/Fuzz/$word"); else inputs+=("$fuzz_build/$word.o"); fi
  done
  [[ -z $(find "${inputs[@]}" -newer "$fuzz_build/$name" 2>&1) ]] && return
  note "fuzz $name: building"
  fuzz_compile -module-name "Fuzz$name" -emit-executable "${inputs[@]}" \
    -emit-module-path "$fuzz_build/Fuzz$name.swiftmodule" -o "$fuzz_build/$name"
}

# seed_fuzzer NAME DIR: what the writers make, and what other tools made, if it is there and small enough to be fast.
seed_fuzzer() {
  local fixtures=${WARMBLK_FIXTURES:-../shared/fixtures} folders=() file
  mkdir -p "$2"
  WARMBLK_FUZZ_SEEDS=$2 "$fuzz_build/$1" || return
  case $1 in
    LSMT) folders=(lsmt quirks upper) ;;
    ZFile) folders=(zfile) ;;
    Tar) folders=(tar) ;;
    Trace) folders=(trace) ;;
  esac
  ((${#folders[@]})) && [[ -d $fixtures ]] || return 0
  while IFS= read -r file; do cp "$fixtures/$file" "$2/${file//\//-}"; done < <(cd "$fixtures" &&
    find "${folders[@]}" -type f -size -41k ! -name '*.txt' ! -name '*.zst' ! -name '*.sha256')
}

# run_fuzzer NAME: what it finds interesting is kept, so that a later run goes on from there.
run_fuzzer() {
  local name=$1 corpus=$fuzz_build/corpus/$1 seeds=$fuzz_build/seeds/$1 log=$results/fuzz-$1.log status=0 input inputs
  rm -rf "$seeds"
  seed_fuzzer "$name" "$seeds" || {
    count_step "fuzz $name: its seeds cannot be made" 1
    return
  }
  mkdir -p "$corpus"
  note "fuzz $name: $fuzz_seconds s"
  # A crash must end the fuzzer at once, not start Swift's own crash reporter in the middle of its handler.
  SWIFT_BACKTRACE=enable=no ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 \
    timeout -k 10 "$((fuzz_seconds + 120))" "$fuzz_build/$name" -max_total_time="$fuzz_seconds" -timeout=10 \
    -rss_limit_mb=4096 -max_len=65536 -print_final_stats=1 -artifact_prefix="$results/fuzz-$name-" \
    "$corpus" "$seeds" </dev/null 2>&1 | tee "$log" | show_fuzzing "$name" || status=$?
  inputs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  if grep -q 'no interesting inputs were found' "$log"; then
    count_step "fuzz $name: works blindly, because the build has no coverage instrumentation" 1
    return
  fi
  if [[ $status == 0 ]]; then
    count_step "fuzz $name" 0
    summary+=("$(printf '%-16s     1 passed, 0 failed: %s inputs in %d s' "fuzz $name" "$inputs" "$fuzz_seconds")")
    note "${summary[-1]}"
    return
  fi
  tail -n 40 "$log"
  input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
  if [[ -n $input ]]; then
    count_step "fuzz $name: fails on the input $input. Again: SWIFT_BACKTRACE=enable=no $fuzz_build/$name $input" 1
  else
    count_step "fuzz $name: ended with status $status and kept no input; see $log" 1
  fi
}

# show_fuzzing NAME: every 15 seconds how far it is.
show_fuzzing() {
  local line shown=$SECONDS
  while IFS= read -r line; do
    if [[ $line == '#'* ]] && ((SECONDS - shown >= 15)); then
      note "  fuzz $1: $line"
      shown=$SECONDS
    fi
  done
}

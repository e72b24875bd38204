# shellcheck shell=bash
# Builds with SwiftPM. Needs say.sh.

# build TEXT ARGUMENT...: `swift build ARGUMENT...`, with a line of progress now and then, and all of its errors and
# warnings. Returns its status.
build() {
  local text=$1 log status=0
  shift
  command -v swift >/dev/null || die 69 "there is no Swift toolchain on the PATH. Swift 6.1 or later is needed."
  log=$(mktemp)
  note "$text: swift build $*"
  swift build "$@" </dev/null 2>&1 | tee "$log" | show_build || status=$?
  if [[ $status != 0 ]]; then
    grep -E '(error|warning): ' "$log" | sort -u || tail -n 40 "$log"
    complain "swift build $* failed with status $status"
  else
    note "$text: built"
  fi
  rm -f "$log"
  return "$status"
}

# show_build: every 15 seconds the step that the build is at.
show_build() {
  local line shown=$SECONDS
  while IFS= read -r line; do
    if [[ $line == '['*/*']'* ]] && ((SECONDS - shown >= 15)); then
      note "  $line"
      shown=$SECONDS
    fi
  done
}

# shellcheck shell=bash
# What a script says while it works. Progress goes to standard error, results to standard output.

say_program=${0##*/}

# note TEXT...: one line of progress, with the seconds since the script began.
note() { printf '%s: %4d s  %s\n' "$say_program" "$SECONDS" "$*" >&2; }

# complain TEXT...: something that the reader should know, without a time.
complain() { printf '%s: %s\n' "$say_program" "$*" >&2; }

# die STATUS TEXT...: the last word. What went wrong, on what, and what to do about it.
die() {
  local status=$1
  shift
  complain "$*"
  exit "$status"
}

# quoted WORD...: the words as one line that a shell reads back as the same words.
quoted() {
  local line
  printf -v line '%q ' "$@"
  printf '%s' "${line% }"
}

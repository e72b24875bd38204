# shellcheck shell=bash
# Runs a runner of Swift Testing, shows what a person wants to see of it while it runs, and counts what its event
# stream says. Needs say.sh, and jq to read the events; lib is this directory.
# shellcheck disable=SC2154 # lib is set by the script

total_passed=0 total_failed=0
summary=() failures=() skips=()

# run_suite NAME EVENTS COMMAND...: EVENTS is the file that COMMAND makes the runner write its events to. All that
# it prints is kept beside it, as EVENTS.log.
run_suite() {
  local name=$1 events=$2 status=0 began=$SECONDS
  shift 2
  rm -f "$events"
  note "$name: running"
  "$@" </dev/null 2>&1 | tee "$events.log" | show_run || status=$?
  count_run "$name" "$events" "$status" "$((SECONDS - began))"
}

# show_run: failures with their details, and the suites as they end.
show_run() {
  local line shows=""
  while IFS= read -r line; do
    case $line in
      '✘ Test run '* | '✔ Test run '*) shows="" ;;
      '✘ '* | 'vm: '* | *'Fatal error: '*) shows=1 && note "  $line" ;;
      '✔ Suite '*) shows="" && note "  $line" ;;
      '✔ '* | '➜ '* | '◇ '* | '━ '*) shows="" ;;
      '↳ '* | '  '*) [[ -z $shows ]] || note "  $line" ;;
    esac
  done
}

# count_run NAME EVENTS STATUS SECONDS
count_run() {
  local name=$1 events=$2 status=$3 took=$4 kind key text passed=0 failed=0 skipped=0 unfinished=0 ended=""
  while read -r kind key text; do
    case $kind/$key in
      count/passed) passed=$text ;;
      count/failed) failed=$text ;;
      count/skipped) skipped=$text ;;
      count/unfinished) unfinished=$text ;;
      failed/-) failures+=("$name: $text") ;;
      skipped/-) skips+=("$name: $text") ;;
      ended/-) ended=1 ;;
    esac
  done < <([[ ! -r $events ]] || events_so_far "$events" | jq -rs -f "$lib/tally.jq")
  # 69 is Swift Testing's word for "no test matches the filter".
  if [[ $status != 0 && $status != 69 && ($failed == 0 || -z $ended) ]]; then
    failed=$((failed + (unfinished == 0)))
    failures+=("$name: the runner ended with status $status$(status_meaning "$status")")
    note "$name ended with status $status; the end of $events.log:"
    tail -n 60 "$events.log"
  fi
  total_passed=$((total_passed + passed))
  total_failed=$((total_failed + failed))
  summary+=("$(printf '%-16s %5d passed, %d failed, %d skipped in %d s' "$name" "$passed" "$failed" "$skipped" "$took")")
  note "${summary[-1]}"
}

# events_so_far EVENTS: the complete lines; a runner that died may have left half a line at the end.
events_so_far() { grep -a '}$' "$1" | jq -Rc 'fromjson?'; }

status_meaning() {
  case $1 in
    70) echo " (the guest's kernel complained: see its lines above)" ;;
    124) echo " (it took too long)" ;;
    125) echo " (the virtual machine died)" ;;
    13[0-9]) echo " (killed by signal $(($1 - 128)), $(kill -l $(($1 - 128))))" ;;
  esac
}

# count_step NAME STATUS: something that is not a suite, but whose failing fails the whole.
count_step() {
  if [[ $2 == 0 ]]; then
    total_passed=$((total_passed + 1))
  else
    total_failed=$((total_failed + 1))
    failures+=("$1")
  fi
}

# finish: what was counted, and the closing line. Returns whether all is well.
finish() {
  local text
  if ((${#skips[@]})); then
    echo
    echo "Skipped:"
    printf '  %s\n' "${skips[@]}"
  fi
  if ((${#failures[@]})); then
    echo
    echo "Failed:"
    printf '  %s\n' "${failures[@]}"
  fi
  echo
  for text in ${summary[@]+"${summary[@]}"}; do echo "$text"; done
  echo "All of it took $((SECONDS / 60)) min $((SECONDS % 60)) s."
  ((total_passed + total_failed)) || echo "No test ran: nothing matches the filter."
  echo "$total_passed passed, $total_failed failed"
  ((total_failed == 0 && total_passed > 0))
}

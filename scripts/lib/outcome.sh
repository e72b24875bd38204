# shellcheck shell=bash
# How a run of the virtual machine ended, told to a person and as an exit status. Works on the variables of
# scripts/vm: control is where the guest left its results, work has QEMU's. Needs say.sh and kernel-log.sh.
# shellcheck disable=SC2154 # those variables

# QEMU lets a processor execute an instruction that another one has just patched away, once in some thirty starts
# of the 6.12 kernel: it dies of an int3 that is no longer there. A machine that died before the command began has done
# nothing yet, so it may be started again.
died_of_emulation() {
  [[ $accelerator == tcg* && ! -e $control/began ]] && grep -q 'Oops: int3' "$work/console"
}

show_verbose() {
  {
    echo "--- console"
    cat "$work/console"
    echo "--- the kernel's log while the command ran"
    [[ ! -r $control/log ]] || after_mark "$control/log"
    echo "--- guest's seconds: command began $(cat "$control/began" 2>/dev/null), ended $(cat "$control/ended" 2>/dev/null)"
  } >&2
}

show_warnings() {
  local complaints
  complaints=$(after_mark "$control/log" | kernel_complaints /dev/stdin)
  [[ -n $complaints ]] || return 0
  complain "the guest's kernel ($(cat "$kernel_dir/release" 2>/dev/null || echo "$kernel")) complained while the command ran:"
  printf '  %s\n' "${complaints//$'\n'/$'\n  '}" >&2
  return 1
}

# show_end TEXT: why there is no status, and the machine's last words.
show_end() {
  complain "$1 Its last words:"
  if [[ -s $work/console ]]; then tail -n 50 "$work/console" >&2; fi
  cat "$work/qemu.log" >&2
}

# report: from what the machine left behind to this script's exit status.
report() {
  local status
  [[ -z $verbose ]] || show_verbose
  if [[ -s $control/status && -s $control/began ]]; then
    status=$(cat "$control/status")
    if ! show_warnings && [[ -n $fail_on_warnings && $status == 0 ]]; then status=70; fi
    exit "$status"
  elif [[ -e $work/was-cut ]]; then
    if [[ -e $control/cut ]]; then complain "power cut by the command"; else complain "power cut $cut s after the command began"; fi
    exit 137
  elif [[ -e $work/was-late ]]; then
    if [[ -e $control/late ]]; then
      complain "past the time limit of $time_limit s (-t). The kernel's blocked tasks, and the guest's threads (D: blocked):"
      tail -n 120 "$control/late" >&2
    else
      show_end "past the time limit of $time_limit s (-t), and the guest does not answer: $([[ -e $control/began ]] && echo "its kernel hangs" || echo "it never came as far as the command")."
    fi
    exit 124
  elif grep -q 'Kernel panic' "$work/console" 2>/dev/null; then
    show_end "the guest's kernel panicked$([[ -e $control/began ]] || echo " before the command began")."
  elif grep -q 'sysrq: Resetting' "$work/console" 2>/dev/null; then
    complain "power cut by the command"
    exit 137
  else
    show_end "the machine ended without a result from the guest."
  fi
  exit 125
}

# shellcheck shell=bash
# What a kernel's log says went wrong.

# kernel_complaints FILE: the lines that a healthy kernel does not print: warnings, bugs, oopses, hung tasks, stalls,
# lock order violations and sanitizers' reports.
kernel_complaints() {
  grep -E "$kernel_complaint_pattern" "$1" || true
}
kernel_complaint_pattern='WARNING: |BUG: |BUG at |Oops|general protection fault|unable to handle|Unable to handle'
kernel_complaint_pattern+='|INFO: task .* blocked|hung_task|soft lockup|hard LOCKUP|rcu.*(stall|starved)|possible .*lock'
kernel_complaint_pattern+='|suspicious RCU|inconsistent lock state|KASAN|KCSAN|UBSAN|refcount_t: |page allocation failure'
kernel_complaint_pattern+='|invoked oom-killer|Kernel panic'

# after_mark FILE: the part of a log that was written while the command ran.
after_mark() { sed -n '/vm: the command begins/,$p' "$1" | sed 1d; }

# From Swift Testing's event stream (JSON lines, slurped) to lines of two words and a text, for lib/suites.sh:
#   count passed N / count failed N / count unfinished N (of the failed) / count skipped N, failed - TEXT, skipped - TEXT, ended - TEXT
# A test that began and never ended took the runner with it: it failed.
def text: [.messages[]? | select(.symbol != "details") | .text][0] // "";
(map(select(.kind == "test" and .payload.kind == "function") | {key: .payload.id, value: (.payload.displayName // .payload.name)})
  | from_entries) as $names
| map(select(.kind == "event") | .payload) as $events
| ($events | map(select(.kind == "testEnded" and $names[.testID // ""] != null))) as $ended
| ($events | map(select(.kind == "testSkipped" and $names[.testID // ""] != null))) as $skipped
| ($ended | map(select(any(.messages[]?; .symbol == "fail")))) as $failed
| ($ended | map({key: .testID, value: true}) | from_entries) as $has_ended
| ($events | map(select(.kind == "testStarted" and $names[.testID // ""] != null and ($has_ended[.testID] | not)))) as $unfinished
| "count passed \(($ended | length) - ($failed | length))",
  "count failed \(($failed | length) + ($unfinished | length))",
  "count unfinished \($unfinished | length)",
  "count skipped \($skipped | length)",
  ($failed[] | "failed - \(text)"),
  ($unfinished[] | "failed - Test \"\($names[.testID])\" never ended."),
  ($skipped[] | "skipped - \(text)"),
  ($events[] | select(.kind == "runEnded") | "ended - \(text)")

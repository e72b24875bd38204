// Measurements that need no kernel: `scripts/bench` runs them in release.
//
//     warmblk-bench                      lookups and blocks
//     warmblk-bench needs IMAGE READS    what some reads of an image need of its layers
let words = CommandLine.arguments.dropFirst()
if words.first == "needs", words.count == 3 {
  try ReplayNeeds.run(words[2], words[3])
} else if words.isEmpty {
  LookupBench.run()
  try ZFileBench.run()
} else {
  fatalError("not `needs IMAGE READS`: \(words.joined(separator: " "))")
}

// Measurements that need no kernel: `scripts/bench` runs them in release.
//
//     warmblk-bench                      lookups, a writable layer's index, and blocks
//     warmblk-bench upper                the writable layer's index alone
//     warmblk-bench needs IMAGE READS    what some reads of an image need of its layers
import CLinux
import Glibc

/// Keeps this thread on one CPU, the last that it may use, so that no figure contains a move to another one's cold caches.
private func stayOnOneCPU() {
  for cpu in (0..<sysconf(Int32(_SC_NPROCESSORS_CONF))).reversed() {
    var mask = [UInt8](repeating: 0, count: cpu / 64 * 8 + 8)
    mask[cpu / 8] = 1 << UInt8(cpu % 8)
    if clinux_set_affinity(mask, mask.count) == 0 { return }
  }
  fatalError("cannot stay on one CPU: \(String(cString: strerror(errno)))")
}

let words = Array(CommandLine.arguments.dropFirst())
if words.first == "needs", words.count == 3 {
  try ReplayNeeds.run(words[1], words[2])
} else if words == ["upper"] {
  stayOnOneCPU()
  UpperBench.run()
} else if words.isEmpty {
  stayOnOneCPU()
  LookupBench.run()
  UpperBench.run()
  try ZFileBench.run()
} else {
  var line = "warmblk-bench: no words, `upper`, or `needs IMAGE READS`, not `\(words.joined(separator: " "))`\n"
  line.withUTF8 { _ = write(2, $0.baseAddress, $0.count) }
  exit(64)
}

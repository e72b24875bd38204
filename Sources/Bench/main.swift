// The measurements that need no kernel: `scripts/bench` runs them in release.
import Glibc

/// Keeps this thread on the CPU that it is on, so that no figure contains a move to another one's cold caches.
private func stayOnThisCPU() {
  var set = cpu_set_t()
  let cpu = Int(sched_getcpu())
  withUnsafeMutableBytes(of: &set) { $0[cpu / 8] |= 1 << UInt8(cpu % 8) }
  guard sched_setaffinity(0, MemoryLayout<cpu_set_t>.size, &set) == 0 else {
    fatalError("cannot stay on CPU \(cpu): \(String(cString: strerror(errno)))")
  }
}

stayOnThisCPU()
LookupBench.run()
try ZFileBench.run()

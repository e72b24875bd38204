// The measurements that need no kernel: `scripts/bench` runs them in release.
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

stayOnOneCPU()
LookupBench.run()
try ZFileBench.run()

// The measurements that need no kernel: `scripts/bench` runs them in release.
import CLinux
import Glibc

/// Keeps this thread on the CPU that it is on, so that no figure contains a move to another one's cold caches.
private func stayOnThisCPU() {
  let cpu = Int(clinux_current_cpu())
  var mask = [UInt8](repeating: 0, count: 128)
  mask[cpu / 8] |= 1 << UInt8(cpu % 8)
  guard clinux_set_affinity(mask, mask.count) == 0 else {
    fatalError("cannot stay on CPU \(cpu): \(String(cString: strerror(errno)))")
  }
}

stayOnThisCPU()
LookupBench.run()
try ZFileBench.run()

import Glibc
import Posix

/// The cheap part of `warmblk doctor`: what would make ADD_DEV hang, or fail in a way that nobody understands.
public enum Preflight {
  /// Throws when no device can be made here. `allowingBadKernel`: also on kernels that are known to crash.
  public static func check(allowingBadKernel: Bool) throws(HostError) {
    let kernel = KernelVersion.running()
    if !allowingBadKernel, let version = kernel.version {
      for problem in KernelProblem.known(in: version) where problem.severity == .refuse {
        throw .refused(
          "kernel \(kernel.release) \(problem.effect): \(problem.remedy), or use --allow-bad-kernel if you know better"
        )
      }
    }
    if !fileExists("/dev/ublk-control") {
      let facts = DriverFacts.read(release: kernel.release)
      if facts == .loaded {
        throw .refused(
          "/dev/ublk-control is not there although ublk_drv is loaded: is /dev that of a container?")
      }
      let driver = Check.driver(facts)
      throw .refused(
        "/dev/ublk-control is not there: ublk_drv is \(driver.found)\(driver.remedy.map { "; \($0)" } ?? "")")
    }
  }
}

import Glibc
import Testing

/// Loopback as a slow link, with packets as long as those of a network. The guest runs one test at a time.
struct SlowLink {
  /// `delay` is half of the round trip; both as tc writes them.
  init(delay: String, rate: String) throws {
    try need("modprobe", "sch_netem")
    try need("ip", "link", "set", "lo", "mtu", "1500")
    // As long a queue as all connections together may fill: nothing is dropped, as on a link that is not full.
    try need("tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", delay, "rate", rate, "limit", "100000")
  }

  /// Loopback is as it was.
  func remove() {
    _ = try? run("tc", "qdisc", "del", "dev", "lo", "root")
    _ = try? run("ip", "link", "set", "lo", "mtu", "65536")
  }
}

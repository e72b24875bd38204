import LSMT
import TestSupport

@testable import UpperLayer

extension CrashRun {
  /// Sectors beyond the device's end that a growth has to hide.
  private static let hidden = deviceSectors + 8..<deviceSectors + 40

  /// Makes the device larger with something going wrong, then ends the machine or the process, and compares what is there.
  /// Whether the device is larger; then what was to be hidden is.
  mutating func grow(fault: (at: Int, kind: FaultyDisk.Fault), losesPower: Bool) -> Bool {
    guard let growing = upper, failure == nil else { return false }
    disk.fault = fault
    do throws(UpperChangeError) {
      try growing.resize(to: (Self.deviceSectors + 64) * 512, hiding: [Self.hidden])
      noteDurable()
    } catch { noteLoss() }
    upper = nil
    if losesPower {
      disk.cut()
      log.format(for: Self.identity)
    } else {
      disk.restart()
    }
    disk.fault = nil
    var bytes: UInt64 = 0
    do throws(UpperOpenError) {
      // A layer has the larger one of its headers' sizes.
      for file in [disk.data.bytes, disk.index.bytes] { bytes = max(bytes, try Self.header(file, .header).virtualSize) }
    } catch { failure = "its headers cannot be read: \(error)" }
    open(deviceBytes: bytes)
    compare(afterPowerLoss: losesPower)
    guard let upper, failure == nil, bytes > Self.deviceSectors * 512 else { return false }
    for sector in Self.hidden where upper.index.view.piece(at: sector, limit: 1).kind != .zeroes {
      failure = "sector \(sector) shows what is below"
    }
    return true
  }
}

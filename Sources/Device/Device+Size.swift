import Posix
import Ublk
import UpperLayer

/// A disk that grows while it is used.
extension Device {
  /// Gives the disk `bytes`, more than it has, a multiple of 512. May be repeated. Of what is added, the sectors `hidden` are made zeroes
  /// first: layers below have something there. Not from a queue thread, and not while something is recorded.
  ///
  /// The upper is larger before the kernel hears of it: if the driver does not answer, the disk has its new size when it
  /// is added again.
  public func grow(to bytes: UInt64, hiding hidden: [Range<UInt64>], _ deadline: Deadline) throws(DeviceError) {
    guard let upper else {
      throw .invalidOption("\(path) cannot be written, and so its size cannot be changed")
    }
    if recorder.isRecording {
      throw .invalidOption("\(path) is being recorded: `warmblk trace stop -n \(id)` ends that")
    }
    var driver = try DeviceError.driver { () throws(UblkError) in try Control(deadline: deadline) }
    let offered = try DeviceError.driver { () throws(UblkError) in try driver.features() }
    guard offered.contains(.updateSize) else {
      throw .invalidOption(
        "this kernel cannot change the size of \(path) while it is there (UPDATE_SIZE, 6.16): take the device away with "
          + "`warmblk del -n \(id)`, resize the image with `warmblk resize --config`, and add it again")
    }
    // A server that died in the middle of it, or a driver that did not answer, has left the upper as large as that, and the
    // disk as it was.
    guard bytes >= size else {
      throw .invalidOption(
        "\(path) has \(size) bytes: while it is there it can only grow; take it away to make it smaller")
    }
    let added = hidden.filter { $0.upperBound <= bytes / 512 }
    do throws(UpperError) { try upper.resize(to: bytes, hiding: added) } catch { throw .upper(error) }
    recorder.setSize(bytes)
    driver.deadline = deadline
    try DeviceError.driver { () throws(UblkError) in try driver.updateSize(id, sectors: bytes / 512) }
  }
}

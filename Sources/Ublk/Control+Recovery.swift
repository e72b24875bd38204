import CUblk
import Glibc
import Posix

/// A device whose server goes and comes again.
extension Control {
  /// Begins to give a device without a server to a new one (6.1). `EBUSY` while the old server still holds
  /// `/dev/ublkcN`, or the device is not quiesced; `EINVAL` when it was made without `userRecovery`.
  public func startRecovery(_ id: UInt32) throws(UblkError) {
    try run("START_USER_RECOVERY", UBLK_CMD_START_USER_RECOVERY, device: id)
  }

  /// Lets the disk answer again: what waited is sent to the new server. Waits until each tag of each queue is armed.
  /// `pid` is the process that opened `/dev/ublkcN`.
  public func endRecovery(_ id: UInt32, pid: Int32) throws(UblkError) {
    try run("END_USER_RECOVERY", UBLK_CMD_END_USER_RECOVERY, device: id, data: UInt64(pid))
  }

  /// Takes the tags that wait for requests away from the server, which answers what it has and ends; requests wait for the
  /// next one (6.16). Waits up to `milliseconds` for each queue to have a tag that waits, then `EBUSY`.
  public func quiesce(_ id: UInt32, milliseconds: Int) throws(UblkError) {
    try run("QUIESCE_DEV", UBLK_CMD_QUIESCE_DEV, device: id, data: UInt64(max(1, milliseconds)))
  }

  /// Deletes the device that was made with `mark` and whose server has ended, once the driver knows that, which takes it some
  /// milliseconds. `ENODEV` when it is gone; nothing is done when its number is that of another device by now.
  ///
  /// Before the driver knows, DEL_DEV waits for the requests of the dead server, and a driver that puts these back for the next
  /// server while the disk goes away (7.3) leaves them where nobody looks any more: then it waits for ever. On 6.12 the driver
  /// may need 30 s to notice, and is not waited for so long: there DEL_DEV ends all the same.
  public func deleteAfterServer(_ id: UInt32, mark: UInt64) throws(UblkError) {
    let patience = Deadline(milliseconds: 2000)
    while true {
      let found = try info(id)
      if found.mark != mark { return }
      if found.state != .live || patience.hasPassed { break }
      usleep(1000)
    }
    try delete(id)
  }
}

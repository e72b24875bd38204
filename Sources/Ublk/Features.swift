/// What a ublk driver offers, or what a device was granted: `UBLK_F_*`.
public struct Features: OptionSet, Hashable, Sendable {
  /// The kernel's bits.
  public let rawValue: UInt64
  /// A set of the kernel's bits.
  @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }

  /// `UBLK_F_SUPPORT_ZERO_COPY` (6.15)
  public static let zeroCopy = Features(rawValue: 1 << 0)
  /// `UBLK_F_URING_CMD_COMP_IN_TASK` (6.0)
  public static let completeInTask = Features(rawValue: 1 << 1)
  /// `UBLK_F_NEED_GET_DATA` (6.0)
  public static let needGetData = Features(rawValue: 1 << 2)
  /// `UBLK_F_USER_RECOVERY` (6.1)
  public static let userRecovery = Features(rawValue: 1 << 3)
  /// `UBLK_F_USER_RECOVERY_REISSUE` (6.1)
  public static let recoveryReissue = Features(rawValue: 1 << 4)
  /// `UBLK_F_UNPRIVILEGED_DEV` (6.3)
  public static let unprivileged = Features(rawValue: 1 << 5)
  /// `UBLK_F_CMD_IOCTL_ENCODE` (6.4)
  public static let encodedCommands = Features(rawValue: 1 << 6)
  /// `UBLK_F_USER_COPY` (6.5)
  public static let userCopy = Features(rawValue: 1 << 7)
  /// `UBLK_F_ZONED` (6.6)
  public static let zoned = Features(rawValue: 1 << 8)
  /// `UBLK_F_USER_RECOVERY_FAIL_IO` (6.13)
  public static let recoveryFailIO = Features(rawValue: 1 << 9)
  /// `UBLK_F_UPDATE_SIZE` (6.16)
  public static let updateSize = Features(rawValue: 1 << 10)
  /// `UBLK_F_AUTO_BUF_REG` (6.16)
  public static let autoBufferRegistration = Features(rawValue: 1 << 11)
  /// `UBLK_F_QUIESCE` (6.16)
  public static let quiesce = Features(rawValue: 1 << 12)
  /// `UBLK_F_PER_IO_DAEMON` (6.16)
  public static let perIODaemon = Features(rawValue: 1 << 13)
  /// `UBLK_F_BUF_REG_OFF_DAEMON` (6.17)
  public static let registrationOffDaemon = Features(rawValue: 1 << 14)
  /// `UBLK_F_BATCH_IO` (7.0)
  public static let batch = Features(rawValue: 1 << 15)
  /// `UBLK_F_INTEGRITY` (7.0)
  public static let integrity = Features(rawValue: 1 << 16)
  /// `UBLK_F_SAFE_STOP_DEV` (7.0)
  public static let safeStop = Features(rawValue: 1 << 17)
  /// `UBLK_F_NO_AUTO_PART_SCAN` (7.0)
  public static let noPartitionScan = Features(rawValue: 1 << 18)
  /// `UBLK_F_SHMEM_ZC` (7.1)
  public static let sharedMemory = Features(rawValue: 1 << 19)
  /// `UBLK_F_IO_DESC_SIZE` (7.3)
  public static let descriptorSize = Features(rawValue: 1 << 20)

  /// Bits 0 to 5, which a kernel before 6.5 has: it cannot be asked.
  public static let beforeGetFeatures = Features(rawValue: 0x3f)
}

/// One row of the feature table.
public struct FeatureRow: Sendable {
  /// The bit.
  public let feature: Features
  /// Its name in the kernel, without `UBLK_F_`.
  public let name: String
  /// The first mainline release with it.
  public let since: String
  /// What it gives a Warmblk device, or that it is not used.
  public let gives: String
  /// What happens on a kernel without it; empty where nothing changes.
  public let without: String
}

/// Every feature that the driver had by Linux 7.3, what Warmblk does with it, and what happens without it.
public let featureTable: [FeatureRow] = [
  FeatureRow(
    feature: .zeroCopy, name: "SUPPORT_ZERO_COPY", since: "6.15",
    gives: "not used: automatic registration does the same with fewer operations", without: ""),
  FeatureRow(
    feature: .completeInTask, name: "URING_CMD_COMP_IN_TASK", since: "6.0", gives: "always on", without: ""),
  FeatureRow(
    feature: .needGetData, name: "NEED_GET_DATA", since: "6.0", gives: "not used: it concerns writes", without: ""),
  FeatureRow(
    feature: .userRecovery, name: "USER_RECOVERY", since: "6.1",
    gives: "not used yet: the disk goes away with its server", without: ""),
  FeatureRow(
    feature: .recoveryReissue, name: "USER_RECOVERY_REISSUE", since: "6.1", gives: "not used yet", without: ""),
  FeatureRow(
    feature: .unprivileged, name: "UNPRIVILEGED_DEV", since: "6.3",
    gives: "not used: devices are made by root", without: ""),
  FeatureRow(
    feature: .encodedCommands, name: "CMD_IOCTL_ENCODE", since: "6.4",
    gives: "required: the commands that Warmblk sends", without: "no device can be made"),
  FeatureRow(
    feature: .userCopy, name: "USER_COPY", since: "6.5",
    gives: "user-copy: what the page cache has of uncompressed layers is copied once; decoded blocks and zeroes "
      + "beside zero-copy reads in one device",
    without: "every read is copied once more by the driver"),
  FeatureRow(feature: .zoned, name: "ZONED", since: "6.6", gives: "not used", without: ""),
  FeatureRow(
    feature: .recoveryFailIO, name: "USER_RECOVERY_FAIL_IO", since: "6.13", gives: "not used yet", without: ""),
  FeatureRow(
    feature: .updateSize, name: "UPDATE_SIZE", since: "6.16", gives: "`resize -n`: a disk that grows while it is used",
    without: "a disk is resized while no device has it"),
  FeatureRow(
    feature: .autoBufferRegistration, name: "AUTO_BUF_REG", since: "6.16",
    gives: "zero-copy: uncompressed layers are read straight into the request's pages",
    without: "uncompressed layers are copied once by the kernel, twice where the page cache does not have them"),
  FeatureRow(feature: .quiesce, name: "QUIESCE", since: "6.16", gives: "not used yet", without: ""),
  FeatureRow(
    feature: .perIODaemon, name: "PER_IO_DAEMON", since: "6.16", gives: "always on; one thread serves a queue",
    without: ""),
  FeatureRow(
    feature: .registrationOffDaemon, name: "BUF_REG_OFF_DAEMON", since: "6.17", gives: "always on; not needed",
    without: ""),
  FeatureRow(feature: .batch, name: "BATCH_IO", since: "7.0", gives: "not used", without: ""),
  FeatureRow(feature: .integrity, name: "INTEGRITY", since: "7.0", gives: "not used", without: ""),
  FeatureRow(
    feature: .safeStop, name: "SAFE_STOP_DEV", since: "7.0",
    gives: "`del` and the kernel agree in one step that nobody has the device open",
    without: "`del` looks for holders first; one that opens in between sees the device vanish"),
  FeatureRow(feature: .noPartitionScan, name: "NO_AUTO_PART_SCAN", since: "7.0", gives: "not used", without: ""),
  FeatureRow(feature: .sharedMemory, name: "SHMEM_ZC", since: "7.1", gives: "not used", without: ""),
  FeatureRow(feature: .descriptorSize, name: "IO_DESC_SIZE", since: "7.3", gives: "not used", without: ""),
]

extension Features: CustomStringConvertible {
  /// The kernel's names of the bits, joined by `|`.
  public var description: String {
    let names = featureTable.filter { contains($0.feature) }.map(\.name)
    return names.isEmpty ? "none" : names.joined(separator: "|")
  }
}

import Ublk

/// What must be the same for a new server to go on with a device of the driver.
public struct DeviceShape: Equatable, Sendable {
  /// Hardware queues.
  public var queues: Int
  /// Requests that a queue may have in flight.
  public var depth: Int
  /// What the driver granted.
  public var features: Features
  /// What whoever made the device had the driver keep.
  public var mark: UInt64

  /// By its parts.
  public init(queues: Int, depth: Int, features: Features, mark: UInt64) {
    self.queues = queues
    self.depth = depth
    self.features = features
    self.mark = mark
  }

  init(_ info: DeviceInfo) {
    self.init(queues: info.queues, depth: info.depth, features: info.features, mark: info.mark)
  }

  /// How the driver's device differs from this record of it, in words; nil when it does not.
  public func difference(from kernel: DeviceShape) -> String? {
    if kernel.mark != mark { return "the driver's device was made by somebody else, or at another time" }
    if kernel.queues != queues { return "the driver's device has \(kernel.queues) queues, its record \(queues)" }
    if kernel.depth != depth { return "the driver's device has a depth of \(kernel.depth), its record \(depth)" }
    if kernel.features != features {
      return "the driver's device has the features \(kernel.features), its record \(features)"
    }
    if !features.isSuperset(of: .recovery) {
      return "the device was made without \(Features.recovery.subtracting(features)), so it ended with its server"
    }
    return nil
  }
}

extension Features {
  /// What a disk needs to outlive its server: requests that were under way are sent to the next one.
  public static let recovery: Features = [.userRecovery, .recoveryReissue]
}

/// What is to be at hand before a device is handed over, or soon after.
public struct WarmOptions: Sendable {
  /// When the device is handed over.
  public enum Mode: String, Sendable, CaseIterable {
    /// Nothing is prefetched.
    case off
    /// At once; it is warmed meanwhile.
    case background
    /// When it is warm.
    case wait
  }

  /// What warm means.
  public enum Level: String, Codable, Sendable, CaseIterable {
    /// The bytes, as stored, are on this machine.
    case blob
    /// The device's page cache has them as well, decoded: for those who open it buffered.
    case pageCache = "page-cache"
  }

  /// Files that say what will be read, absolute paths, besides the image's own.
  public var traces: [String] = []
  /// When the device is handed over; nil: in the background, if there is a trace.
  public var mode: Mode?
  /// What warm means.
  public var level = Level.blob
  /// The part of the bytes, 0 to 1, that is waited for.
  public var share = 1.0
  /// Milliseconds that are waited at the most; nil for as long as it takes.
  public var deadline: Int?
  /// Bytes a second that the device may prefetch; nil for as many as come.
  public var bytesPerSecond: UInt64?

  /// What the image's own trace asks for.
  public init() {}
}

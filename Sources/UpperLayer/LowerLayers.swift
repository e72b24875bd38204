import Posix

/// What a sparse layer must know of the layers below it: where its file has a hole they show through, so a hole is only made
/// where they have nothing, and a block of the file is only filled with what they show there.
///
/// The closures are called by any thread. The layers below must not change while the upper is open.
public struct LowerLayers: Sendable {
  /// The first run, within sectors that are asked for, where the disk shows bytes of the layers below; nil when it shows zeroes
  /// everywhere there. Answers from memory.
  public let shown: @Sendable (Range<UInt64>) -> Range<UInt64>?
  /// The same with what they have stored beyond the end of their disk, which it does not show. May wait.
  public let stored: @Sendable (Range<UInt64>) -> Range<UInt64>?
  /// Reads what the layers below show from a sector on. May wait, for no longer than it has been told to.
  public let read: @Sendable (_ sector: UInt64, UnsafeMutableRawBufferPointer) throws(Errno) -> Void

  /// Layers that are looked at through these closures.
  public init(
    shown: @escaping @Sendable (Range<UInt64>) -> Range<UInt64>?,
    stored: @escaping @Sendable (Range<UInt64>) -> Range<UInt64>?,
    read: @escaping @Sendable (_ sector: UInt64, UnsafeMutableRawBufferPointer) throws(Errno) -> Void
  ) {
    self.shown = shown
    self.stored = stored
    self.read = read
  }
}

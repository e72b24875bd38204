import Image
import Posix

/// Making a device's disk larger while it is used: `warmblk resize -n`.
public enum Growing {
  /// Ranges that a request can name.
  private static let hiddenMax = 500

  /// Gives device `id` `bytes`; returns how many it had, which may be the same. A registry is asked, as `remote` says, what the image's layers
  /// have beyond the old end.
  public static func run(
    _ id: UInt32, to bytes: UInt64, remote: RemoteSettings?, _ directory: RunDirectory
  ) throws(HostError) -> UInt64 {
    guard let state = try directory.state(id) else {
      throw .refused("there is no device \(id); `warmblk list` shows the devices")
    }
    if bytes % 512 != 0 { throw .refused("\(bytes) bytes: a disk has a multiple of 512") }
    // Whoever asked for it may not have heard that it was done: its server can have died then.
    if bytes == state.size { return bytes }
    guard bytes > state.size else {
      throw .refused(
        "\(state.device) has \(state.size) bytes: while it is there it can only grow; take it away with `warmblk del -n "
          + "\(id)` to make it smaller")
    }
    let hidden: [Range<UInt64>]
    do throws(ImageError) {
      hidden = try ImageConfig.load(state.config).ghosts(in: state.size..<bytes, remote: remote)
    } catch {
      throw .image(error)
    }
    guard hidden.count <= hiddenMax else {
      throw .refused(
        "layers of \(state.config) have something at \(hidden.count) places beyond the end of \(state.device), which are too "
          + "many to hide while it is there: take it away, and resize it with --config")
    }
    _ = try ControlClient(id: id, directory: directory).ask(
      .grow(bytes: bytes, hidden: hidden.flatMap { [$0.lowerBound, $0.upperBound - $0.lowerBound] }),
      Deadline(milliseconds: 15_000))
    return state.size
  }
}

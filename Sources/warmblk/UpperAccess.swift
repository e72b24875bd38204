import Host
import Image

extension UpperUse {
  /// For commands that read an image without a device.
  static var offline: UpperUse { .readOnly(pendingFolder: RunDirectory.standard().path) }
}

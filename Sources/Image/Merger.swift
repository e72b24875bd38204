import Glibc
import LSMT

/// Makes one layer of a whole image, its upper included. It needs nothing below it: zeroes are left out.
public struct Merger {
  /// Merges `image`. `progress` is told bytes of the device. What fails leaves no file behind.
  public static func run(
    _ image: Image, to options: LayerOptions, progress: (Progress) -> Void = { _ in }
  ) throws(ImageError) -> LayerResult {
    guard image.virtualSize > 0 else {
      throw .refused("\(image.config.name): none of the layers says how large the device is")
    }
    let output = try LayerOutput(options, sources: image.files)
    return try output.write(
      virtualSize: image.virtualSize, parentUUID: .null, below: .nothing,
      advice: "--allow-many-entries makes the layer all the same, for overlaybd before August 2026",
      notes: image.warnings
    ) { builder throws(ImageError) in
      try copy(image, to: builder, progress)
    }
  }

  private static func copy(
    _ image: Image, to builder: LayerBuilder, _ progress: (Progress) -> Void
  ) throws(ImageError) {
    var reader = ImageReader(image)
    let buffer = Bytes(count: stepSize)
    try image.forEachStoredRange { range throws(ImageError) in
      // The last sector of a device can be incomplete; in a layer it is whole.
      let count = (range.count + sectorSize - 1) / sectorSize * sectorSize
      let part = buffer.part(0..<count)
      try reader.read(into: buffer.part(0..<range.count), at: range.lowerBound)
      memset(part.baseAddress! + range.count, 0, count - range.count)
      try builder.add(UnsafeRawBufferPointer(part), at: range.lowerBound)
      progress(Progress(done: range.upperBound, total: image.virtualSize))
    }
  }
}

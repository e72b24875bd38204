/// The bytes of a trace file; <doc:TraceFormat> draws them.
extension AccessTrace {
  /// What the first number of a record holds besides the layer.
  private enum Flag {
    static let device: UInt64 = 1
    static let runs: UInt64 = 2
    static let layerShift: UInt64 = 2
  }

  /// Bytes of the shortest record: which parts it has, time, and one range.
  static let recordSizeMin = 4
  /// Bytes of most records, to take memory once.
  private static let recordSizeTypical = 12

  /// The file's bytes.
  ///
  /// - Throws: `tooMany`, `textTooLong`, `invalidSize`, `invalidAccess`: what no reader would accept is not written.
  public func encoded() throws(TraceError) -> [UInt8] {
    try checkHeader()
    var body: [UInt8] = []
    body.reserveCapacity(accesses.count * Self.recordSizeTypical + 128 * layers.count + imageName.utf8.count)
    Self.append(imageName, to: &body)
    for layer in layers {
      Self.append(layer.identity, to: &body)
      body.append(varint: layer.size)
      body.append(layer.isCompressed ? 1 : 0)
    }
    try appendAccesses(to: &body)
    let size = body.count + TraceHeader.size
    guard size <= Self.bytesMax else { throw .tooMany("bytes", count: UInt64(size), limit: Self.bytesMax) }
    return body.withUnsafeBytes { TraceHeader(of: self, body: $0) }.encoded() + body
  }

  private static func append(_ text: String, to body: inout [UInt8]) {
    let utf8 = text.utf8
    body.append(varint: UInt64(utf8.count))
    body.append(contentsOf: utf8)
  }

  private func appendAccesses(to body: inout [UInt8]) throws(TraceError) {
    var time: UInt64 = 0
    var deviceEnd: UInt64 = 0
    var storedEnds = [UInt64](repeating: 0, count: layers.count)
    for (number, access) in accesses.enumerated() {
      try check(access, number: number, after: time)
      let device = access.device
      var head = access.layer.map { UInt64($0 + 1) << Flag.layerShift } ?? 0
      if !device.isEmpty { head |= Flag.device }
      if access.runs != 1 { head |= Flag.runs }
      body.append(varint: head)
      body.append(varint: access.microseconds - time)
      time = access.microseconds
      if !device.isEmpty {
        body.append(stepFrom: deviceEnd, to: device.lowerBound)
        body.append(varint: device.count64)
        deviceEnd = device.upperBound
      }
      if let layer = access.layer {
        let stored = access.stored
        body.append(stepFrom: storedEnds[layer], to: stored.lowerBound)
        if device.isEmpty || layers[layer].isCompressed { body.append(varint: stored.count64) }
        storedEnds[layer] = stored.upperBound
      }
      if access.runs != 1 { body.append(varint: UInt64(access.runs)) }
    }
  }

  /// Whether a file that begins with these bytes claims to be one of these traces.
  public static func isAccessTrace(prefix: RawSpan) -> Bool {
    prefix.withUnsafeBytes { $0.starts(with: TraceHeader.magic) }
  }

  /// Parses a whole file. What it returns is written again as the same bytes.
  ///
  /// - Throws: `notAccessTrace`, `unsupportedVersion`, `headerTruncated`, `headerChecksumMismatch`, `bodySizeMismatch`,
  ///   `bodyChecksumMismatch`, `tooMany`, `malformed`, `invalidSize`, `invalidAccess`.
  public init(parsing bytes: RawSpan) throws(TraceError) {
    self = try bytes.withUnsafeBytes { bytes throws(TraceError) in try Self.parse(bytes) }
  }

  private static func parse(_ bytes: UnsafeRawBufferPointer) throws(TraceError) -> AccessTrace {
    let header = try TraceHeader(parsing: bytes)
    let body = UnsafeRawBufferPointer(rebasing: bytes[TraceHeader.size...])
    let checksum = crc32c(body)
    guard checksum == header.bodyChecksum else {
      throw .bodyChecksumMismatch(found: checksum, expected: header.bodyChecksum)
    }
    var reader = VarintReader(body, startingAt: TraceHeader.size)
    let name = try reader.text(limit: textMax)
    var layers: [TraceLayer] = []
    for _ in 0..<header.layerCount {
      let identity = try reader.text(limit: textMax)
      let size = try reader.varint()
      let offset = reader.offset
      let form = try reader.varint()
      guard form <= 1 else {
        throw .malformed(offset: offset, problem: "a layer is of form \(form), there are 0 and 1")
      }
      layers.append(TraceLayer(identity: identity, size: size, isCompressed: form == 1))
    }
    var trace = AccessTrace(
      imageName: name, deviceSize: header.deviceSize, layers: layers, runs: header.runs,
      durationMicroseconds: header.durationMicroseconds, recordedAt: header.recordedAt)
    try trace.checkHeader()
    try trace.parseAccesses(&reader, count: Int(header.accessCount))
    guard reader.isAtEnd else { throw .malformed(offset: reader.offset, problem: "there is more than the accesses") }
    return trace
  }

  private mutating func parseAccesses(_ reader: inout VarintReader, count: Int) throws(TraceError) {
    var time: UInt64 = 0
    var deviceEnd: UInt64 = 0
    var storedEnds = [UInt64](repeating: 0, count: layers.count)
    var parsed: [TraceAccess] = []
    parsed.reserveCapacity(count)
    for number in 0..<count {
      let head = try reader.varint()
      let (now, overflow) = time.addingReportingOverflow(try reader.varint())
      guard !overflow else { throw .invalidAccess(number: number, problem: "is later than any clock goes") }
      var device: Range<UInt64> = 0..<0
      var stored: Range<UInt64> = 0..<0
      if head & Flag.device != 0 {
        let start = try reader.step(from: deviceEnd)
        device = try Self.range(from: start, try reader.varint(), number)
        deviceEnd = device.upperBound
      }
      let code = head >> Flag.layerShift
      guard code <= layers.count else {
        throw .invalidAccess(number: number, problem: "is of layer \(code - 1), there are \(layers.count)")
      }
      let layer = code == 0 ? nil : Int(code) - 1
      if let layer {
        let start = try reader.step(from: storedEnds[layer])
        let isSeparate = device.isEmpty || layers[layer].isCompressed
        stored = try Self.range(from: start, isSeparate ? try reader.varint() : device.count64, number)
        storedEnds[layer] = stored.upperBound
      }
      let runs = head & Flag.runs == 0 ? 1 : try reader.varint()
      guard head & Flag.runs == 0 || runs > 1, runs <= self.runs else {
        throw .invalidAccess(number: number, problem: "is of \(runs) runs, the trace of \(self.runs)")
      }
      let access = TraceAccess(microseconds: now, device: device, layer: layer, stored: stored, runs: UInt32(runs))
      try check(access, number: number, after: time)
      parsed.append(access)
      time = now
    }
    accesses = parsed
  }

  private static func range(from start: UInt64, _ count: UInt64, _ number: Int) throws(TraceError) -> Range<UInt64> {
    let (end, overflow) = start.addingReportingOverflow(count)
    guard !overflow, count > 0, count <= TraceAccess.countMax else {
      throw .invalidAccess(
        number: number, problem: "names \(count) bytes at \(start); 1 to \(TraceAccess.countMax) bytes can be named")
    }
    return start..<end
  }
}

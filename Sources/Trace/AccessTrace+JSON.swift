import JSON

/// A trace as text: the first line is an object that says what was recorded, each other one an access. What is 0 or empty is
/// left out of an access, and one run.
///
///     {"trace":"warmblk","version":1,"image":"web","deviceSize":4194304,"runs":3,"durationMicroseconds":81234,…
///     {"microseconds":1500,"device":1048576,"deviceBytes":2048,"layer":1,"stored":4608,"storedBytes":1377}
extension AccessTrace {
  private static let version: UInt64 = 1

  /// The text, a line at a time with its `\n`.
  public func forEachJSONLine<Failure: Error>(_ body: (String) throws(Failure) -> Void) throws(Failure) {
    let stack = layers.map {
      "{\"identity\":\(quoted($0.identity)),\"size\":\($0.size),\"compressed\":\($0.isCompressed)}"
    }
    try body(
      "{\"trace\":\"warmblk\",\"version\":\(Self.version),\"image\":\(quoted(imageName)),\"deviceSize\":\(deviceSize),"
        + "\"runs\":\(runs),\"durationMicroseconds\":\(durationMicroseconds),\"recordedAt\":\(recordedAt),"
        + "\"layers\":[\(stack.joined(separator: ","))]}\n")
    for access in accesses {
      var line = "{\"microseconds\":\(access.microseconds)"
      if !access.device.isEmpty {
        line += ",\"device\":\(access.device.lowerBound),\"deviceBytes\":\(access.device.count)"
      }
      if let layer = access.layer {
        line += ",\"layer\":\(layer),\"stored\":\(access.stored.lowerBound),\"storedBytes\":\(access.stored.count)"
      }
      if access.runs != 1 { line += ",\"runs\":\(access.runs)" }
      try body(line + "}\n")
    }
  }

  /// Parses the text. Keys that are not of a trace are errors, and so is whatever a trace file could not hold.
  ///
  /// - Throws: `badLine`, `tooMany`, and what ``encoded()`` throws.
  public init(parsingJSON text: RawSpan) throws(TraceError) {
    var trace: AccessTrace?
    try forEachLine(of: text) { number, bytes throws(TraceError) in
      guard let value = JSONValue(bytes), let members = value.members else {
        throw .badLine(number: number, problem: "it is not one JSON object")
      }
      var object = JSONLine(number: number, members)
      if trace == nil {
        trace = try object.header(version: Self.version)
      } else {
        guard trace!.accesses.count < Self.accessesMax else {
          throw .tooMany("accesses", count: UInt64(number) - 1, limit: Self.accessesMax)
        }
        trace!.accesses.append(try object.access())
      }
      try object.end()
    }
    guard let trace else { throw .unknownFormat(line: 0, text: "") }
    try trace.validate()
    self = trace
  }
}

/// Gives `body` each line that is not empty, and its number.
private func forEachLine(
  of text: RawSpan, _ body: (Int, [UInt8]) throws(TraceError) -> Void
) throws(TraceError) {
  try text.withUnsafeBytes { text throws(TraceError) in
    var start = 0
    var number = 0
    while start < text.count {
      number += 1
      let end = text[start...].firstIndex(of: UInt8(ascii: "\n")) ?? text.count
      let line = [UInt8](text[start..<end])
      if !line.allSatisfy({ $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\r") }) { try body(number, line) }
      start = end + 1
    }
  }
}

/// A text as JSON has it.
private func quoted(_ text: String) -> String {
  var result = "\""
  for scalar in text.unicodeScalars {
    switch scalar {
    case "\"", "\\": result += "\\\(scalar)"
    case _ where scalar.value < 0x20:
      let digits = String(scalar.value, radix: 16)
      result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
    default: result.unicodeScalars.append(scalar)
    }
  }
  return result + "\""
}

/// An object that stands on one line, whose members are taken one after the other until none is left.
private struct JSONLine {
  let number: Int
  private var members: [JSONValue.Member]

  init(number: Int, _ members: [JSONValue.Member]) {
    self.number = number
    self.members = members
  }

  func bad(_ problem: String) -> TraceError { .badLine(number: number, problem: problem) }

  mutating func take(_ key: String) -> JSONValue? {
    members.firstIndex { $0.key == key }.map { members.remove(at: $0).value }
  }

  /// A whole number; `standard` when it is not there, which without one is an error.
  mutating func number(_ key: String, standard: UInt64? = nil) throws(TraceError) -> UInt64 {
    guard let value = take(key) else {
      guard let standard else { throw bad("it has no \"\(key)\"") }
      return standard
    }
    guard case .number(let text) = value, let number = UInt64(text), number <= Int64.max else {
      throw bad("\"\(key)\" is not a whole number from 0 to \(Int64.max)")
    }
    return number
  }

  mutating func text(_ key: String) throws(TraceError) -> String {
    guard let text = take(key)?.string else { throw bad("it has no text \"\(key)\"") }
    return text
  }

  /// All members must have been taken.
  func end() throws(TraceError) {
    if let rest = members.first { throw bad("\"\(rest.key)\" is not a key of a trace, or there twice") }
  }

  mutating func header(version: UInt64) throws(TraceError) -> AccessTrace {
    guard try text("trace") == "warmblk" else { throw bad("\"trace\" is not \"warmblk\"") }
    let found = try number("version")
    guard found == version else { throw bad("\"version\" is \(found), known is \(version)") }
    let runs = try number("runs")
    guard let runs = UInt32(exactly: runs) else { throw bad("\"runs\" is \(runs)") }
    var layers: [TraceLayer] = []
    guard let elements = take("layers")?.elements else { throw bad("it has no array \"layers\"") }
    for element in elements {
      guard let members = element.members else { throw bad("an element of \"layers\" is no object") }
      var layer = JSONLine(number: number, members)
      let identity = try layer.text("identity")
      let size = try layer.number("size")
      guard let compressed = layer.take("compressed")?.boolean else {
        throw bad("a layer does not say whether it is \"compressed\"")
      }
      try layer.end()
      layers.append(TraceLayer(identity: identity, size: size, isCompressed: compressed))
    }
    return AccessTrace(
      imageName: try text("image"), deviceSize: try number("deviceSize"), layers: layers, runs: runs,
      durationMicroseconds: try number("durationMicroseconds"), recordedAt: Int64(try number("recordedAt")))
  }

  mutating func access() throws(TraceError) -> TraceAccess {
    let time = try number("microseconds")
    let device = try range("device", "deviceBytes")
    let layer = try members.contains { $0.key == "layer" } ? number("layer") : nil
    guard layer ?? 0 < AccessTrace.layersMax else { throw bad("\"layer\" is more than any stack has") }
    let stored = try range("stored", "storedBytes")
    let runs = try number("runs", standard: 1)
    guard let runs = UInt32(exactly: runs) else { throw bad("\"runs\" is \(runs)") }
    return TraceAccess(microseconds: time, device: device, layer: layer.map { Int($0) }, stored: stored, runs: runs)
  }

  private mutating func range(_ start: String, _ count: String) throws(TraceError) -> Range<UInt64> {
    if !members.contains(where: { $0.key == start || $0.key == count }) { return 0..<0 }
    let (offset, bytes) = (try number(start), try number(count))
    guard (1...TraceAccess.countMax).contains(bytes), bytes <= UInt64(Int64.max) - offset else {
      throw bad("\"\(count)\" is \(bytes); 1 to \(TraceAccess.countMax) bytes can be named")
    }
    return offset..<offset + bytes
  }
}

/// A way to a registry, as a model: what is sent comes a round trip after it was asked for, in order, at a steady rate. What
/// HTTP and TCP add to bytes takes its time too.
public struct LinkModel: Sendable {
  /// Seconds from a request to its first byte, when nothing else is on the way.
  public let roundTrip: Double
  /// Bytes of blobs in a second.
  public let rate: Double
  /// Requests so far.
  public private(set) var requests = 0
  /// Bytes that they asked for.
  public private(set) var bytes: UInt64 = 0
  /// Seconds from the begin, when the last byte of them has come.
  private var freeAt = 0.0

  /// Bytes of an answer's head, about: Debian's `nginx` sends 273, its `docker-registry` 454.
  private static let headBytes = 320.0
  /// Bytes of a frame of Ethernet for those of a connection in it: an MTU of 1500, and TCP with time stamps.
  private static let framing = 1514.0 / 1448

  /// A way on which nothing is yet; `rate` are bytes of frames in a second, above 0.
  public init(roundTrip: Double, rate: Double) {
    self.roundTrip = roundTrip
    self.rate = rate / Self.framing
  }

  /// Seconds for so many bytes in so many answers.
  public func seconds(_ bytes: UInt64, inAnswers requests: Int) -> Double {
    (Double(bytes) + Self.headBytes * Double(requests)) / rate
  }

  /// Asks for `count` bytes at the second `now`; when the first of them comes.
  mutating func ask(_ count: UInt64, at now: Double) -> Double {
    let first = max(now + roundTrip, freeAt) + seconds(0, inAnswers: 1)
    freeAt = first + seconds(count, inAnswers: 0)
    requests += 1
    bytes += count
    return first
  }
}

/// What the store fetches when one blob is read, and when it is there, without anybody being asked: the rules of
/// ``BlobStore`` for demand, with its readahead, over a ``LinkModel``. For forecasts; the store itself does not use it.
public struct FetchModel {
  private struct UnderWay {
    let chunks: Range<Int>
    let end: Double
  }

  private let size: UInt64
  /// For each chunk the second when it is here; above any for one that nobody has asked for.
  private var arrivals: [Float]
  private var readahead = Readahead()
  private var flights: [UnderWay] = []

  /// A blob of `size` bytes, of which nothing is here.
  public init(size: UInt64) {
    self.size = size
    arrivals = Array(repeating: .infinity, count: ChunkMap.chunkCount(ofBlob: size))
  }

  /// A blob of which here is what the store has of it now.
  public init(_ blob: RemoteBlob) {
    self.init(size: blob.size)
    for chunk in arrivals.indices where blob.hasChunk(chunk) { arrivals[chunk] = 0 }
  }

  /// Somebody wants a range at the second `now`: when all of it is here.
  public mutating func read(_ range: Range<UInt64>, at now: Double, over link: inout LinkModel) -> Double {
    let part = range.clamped(to: 0..<size)
    if part.isEmpty { return now }
    flights.removeAll { $0.end <= now }
    let wanted = ChunkMap.chunks(of: part)
    let joined = wanted.last { arrivals[$0].isFinite && Double(arrivals[$0]) > now }
    let runs = missingRuns(wanted)
    for (number, run) in runs.enumerated() {
      fly(number == runs.count - 1 ? extended(run) : run, at: now, over: &link)
    }
    if let joined { flyAhead(firstOfFlight(at: joined, in: wanted), at: now, over: &link) }
    return wanted.reduce(now) { max($0, Double(arrivals[$1])) }
  }

  /// A prefetch brought a range before anything is read: the parts of it that were missing, a request for each.
  public mutating func prefetch(_ range: Range<UInt64>) -> [Range<UInt64>] {
    let part = range.clamped(to: 0..<size)
    if part.isEmpty { return [] }
    let runs = missingRuns(ChunkMap.chunks(of: part))
    for chunk in runs.joined() { arrivals[chunk] = 0 }
    return runs.map(bytes)
  }

  private func bytes(_ chunks: Range<Int>) -> Range<UInt64> { ChunkMap.bytes(of: chunks, blobSize: size) }

  private func missingRuns(_ chunks: Range<Int>) -> [Range<Int>] {
    ChunkMap.runs(of: chunks.lazy.filter { !arrivals[$0].isFinite }, limit: Flight.chunksMax)
  }

  private mutating func extended(_ missing: Range<Int>) -> Range<Int> {
    let far = max(missing.upperBound, min(arrivals.count, missing.lowerBound + Flight.chunksMax))
    let limit = (missing.upperBound..<far).first { arrivals[$0].isFinite } ?? far
    return readahead.extend(missing, limit: limit)
  }

  private mutating func fly(_ chunks: Range<Int>, at now: Double, over link: inout LinkModel) {
    let range = bytes(chunks)
    let first = link.ask(UInt64(range.count), at: now)
    for chunk in chunks {
      let end = bytes(chunk..<chunk + 1).upperBound - range.lowerBound
      arrivals[chunk] = Float(first + Double(end) / link.rate)
    }
    flights.append(UnderWay(chunks: chunks, end: first + Double(range.count) / link.rate))
  }

  /// The first chunk of `wanted` that the flight which brings `chunk` brings.
  private func firstOfFlight(at chunk: Int, in wanted: Range<Int>) -> Int {
    guard let flight = flights.first(where: { $0.chunks.contains(chunk) }) else { return chunk }
    return max(wanted.lowerBound, flight.chunks.lowerBound)
  }

  /// A reader in order in the second half of a flight has the next one fetched.
  private mutating func flyAhead(_ chunk: Int, at now: Double, over link: inout LinkModel) {
    guard let flight = flights.first(where: { $0.chunks.contains(chunk) }) else { return }
    let next = flight.chunks.upperBound
    guard chunk >= flight.chunks.lowerBound + flight.chunks.count / 2, next < arrivals.count,
      !arrivals[next].isFinite, readahead.isInOrder(upTo: next)
    else { return }
    fly(extended(next..<next + 1), at: now, over: &link)
  }
}

import BlobStore
import Trace

/// What a start that traces describe costs of a network: requests, bytes and seconds, without anything being fetched for
/// it. What HTTP and TCP add to bytes is in it; what this machine's processors and disks take is not, nor are connections
/// and credentials.
public struct StartForecast: Encodable, Equatable, Sendable {
  /// What one way of it costs.
  public struct Cost: Encodable, Equatable, Sendable {
    /// Ranged GETs.
    public let requests: Int
    /// Bytes of blobs in their answers.
    public let bytes: UInt64
    /// Seconds that are waited for them.
    public let seconds: Double

    /// A cost by its parts.
    public init(requests: Int, bytes: UInt64, seconds: Double) {
      self.requests = requests
      self.bytes = bytes
      self.seconds = seconds
    }
  }

  /// Opening the layers without a cache: their ends and indexes. Two round trips for all of them together.
  public let opening: Cost
  /// The reads of the traces, one after the other, with an empty cache.
  public let cold: Cost
  /// Bringing what the traces name before the reads: two round trips, and the bytes.
  public let warming: Cost
  /// The reads after that.
  public let warm: Cost

  /// The forecast for `traces`, which are of `image`. The image must have been opened just now, without a cache: what its
  /// opening brought is what is here before the reads.
  public init(_ traces: [AccessTrace], of image: Image, roundTrip: Double, bytesPerSecond: Double) {
    let link = LinkModel(roundTrip: roundTrip, rate: bytesPerSecond)
    func bringing(_ requests: Int, _ bytes: UInt64) -> Cost {
      let seconds = bytes == 0 ? 0 : 2 * roundTrip + link.seconds(bytes, inAnswers: requests)
      return Cost(requests: requests, bytes: bytes, seconds: seconds)
    }
    let before = image.remote?.store.counters.snapshot
    opening = bringing(Int(before?.fetches ?? 0), before?.fetchedBytes ?? 0)
    let reads = Self.reads(traces, of: image)
    let blobs = ModelledBlobs(image)
    cold = blobs.cost(of: reads, over: link)
    var warmed = blobs
    let missing = WarmPlan(traces, for: image).requests.flatMap { warmed.prefetch($0) }
    warming = bringing(missing.count, missing.reduce(0) { $0 + UInt64($1.count) })
    warm = warmed.cost(of: reads, over: link)
  }

  /// What is read in one go, in the order of its time.
  private static func reads(_ traces: [AccessTrace], of image: Image) -> [[TraceAccess]] {
    var accesses: [TraceAccess] = []
    for access in traces.flatMap(\.accesses) {
      if access.layer != nil {
        accesses.append(access)
      } else {
        image.forEachPiece(ofDevice: access.device) { accesses.append($0.access(at: access.microseconds)) }
      }
    }
    // Of equal times the order is kept: the index is the second key.
    let order = accesses.indices.sorted { (accesses[$0].microseconds, $0) < (accesses[$1].microseconds, $1) }
    var reads: [[TraceAccess]] = []
    for index in order {
      let access = accesses[index]
      // A trace has no reads, but what belongs to one has its time; where there are no times, what goes on does.
      if let last = reads.last?.last, last.microseconds == access.microseconds,
        access.microseconds > 0 || last.device.upperBound == access.device.lowerBound
      {
        reads[reads.count - 1].append(access)
      } else {
        reads.append([access])
      }
    }
    return reads
  }
}

/// The remote layers of an image, as models. A layer that is in the stack several times is one blob.
private struct ModelledBlobs {
  private var models: [FetchModel] = []
  /// For each layer the index of its model; nil for a file of this machine.
  private var numbers: [Int?] = []

  init(_ image: Image) {
    var known: [ObjectIdentifier: Int] = [:]
    for layer in image.layers {
      guard let blob = layer.blob.remote?.blob else {
        numbers.append(nil)
        continue
      }
      let number = known[ObjectIdentifier(blob)] ?? models.count
      if number == models.count { models.append(FetchModel(blob)) }
      known[ObjectIdentifier(blob)] = number
      numbers.append(number)
    }
  }

  mutating func prefetch(_ request: WarmPlan.Request) -> [Range<UInt64>] {
    numbers[request.layer].map { models[$0].prefetch(request.range) } ?? []
  }

  /// What one reader's reads cost, who waits for each before he goes on.
  func cost(of reads: [[TraceAccess]], over link: LinkModel) -> StartForecast.Cost {
    var (link, models, now) = (link, models, 0.0)
    for read in reads {
      var end = now
      for access in read {
        guard let layer = access.layer, let number = numbers[layer] else { continue }
        end = max(end, models[number].read(access.stored, at: now, over: &link))
      }
      now = end
    }
    return StartForecast.Cost(requests: link.requests, bytes: link.bytes, seconds: now)
  }
}

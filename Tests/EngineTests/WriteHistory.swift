import Glibc
import Testing
import Ublk

@testable import Device

/// Who wrote what into which sector, and when: what a read may find.
struct WriteHistory {
  /// Something that a sector may have had, and when it was put there.
  private struct Value {
    let writer: Int
    let isZero: Bool
    let began: UInt64
    let ended: UInt64
    /// Whether it is sure that it was put there.
    let isSure: Bool
  }

  private var values: [[Value]]
  private static let nothing = [UInt8](repeating: 0, count: 512)[...]
  /// What is below.
  private let original: [UInt8]

  /// What the requests of some queues have done so far.
  init(_ transports: [FakeTransport], sectors: Int, original: [UInt8]) {
    values = Array(repeating: [], count: sectors)
    self.original = original
    for transport in transports {
      for (number, ticket) in transport.tickets.enumerated() where ticket.changes && ticket.written != nil {
        let isRight = ticket.result.map { $0 >= 0 } ?? false
        let value = Value(
          writer: number + transport.firstTicket, isZero: ticket.request.operationNumber != 1, began: ticket.began,
          ended: isRight ? ticket.ended : .max, isSure: isRight)
        for sector in 0..<Int(ticket.request.sectors) { values[Int(ticket.request.startSector) + sector].append(value) }
      }
    }
  }

  /// Checks an answer and its bytes: a sector is what one writer made of it that no other has surely overwritten before
  /// the read began.
  func check(_ ticket: FakeTransport.Ticket, _ number: Int, _ seed: UInt64) {
    let bytes = Int32(ticket.request.sectors) * 512
    guard let result = ticket.result else {
      return #expect(Bool(false), "seed \(seed): request \(number) has no answer")
    }
    if result < 0 {
      #expect(ticket.sawFault, "seed \(seed): error \(result) of request \(number) without a cause")
      #expect(result == -EIO || (result == -ENOSPC && !ticket.request.isRead), "seed \(seed): \(result)")
    } else if ticket.request.operationNumber == 1 || ticket.request.isRead {
      #expect(result == bytes, "seed \(seed): \(result) of \(bytes)")
    } else {
      #expect(result == 0, "seed \(seed): \(result)")
    }
    guard ticket.request.isRead, result == bytes else { return }
    for index in 0..<Int(ticket.request.sectors) {
      let sector = Int(ticket.request.startSector) + index
      let found = ticket.data[index * 512..<index * 512 + 512]
      if !allows(found, in: sector, began: ticket.began, ended: ticket.ended) {
        return #expect(
          Bool(false), "seed \(seed): request \(number) has wrong bytes at sector \(sector): \(found.prefix(8))")
      }
    }
  }

  /// `==` takes its time where nothing is optimized.
  private static func areEqual(_ left: ArraySlice<UInt8>, _ right: ArraySlice<UInt8>) -> Bool {
    left.count == right.count
      && left.withUnsafeBytes { left in
        right.withUnsafeBytes { memcmp(left.baseAddress!, $0.baseAddress!, left.count) == 0 }
      }
  }

  /// Whether a read from `began` to `ended` may find `found` in a sector.
  func allows(_ found: ArraySlice<UInt8>, in sector: Int, began: UInt64, ended: UInt64) -> Bool {
    let values = values[sector]
    func isPossible(_ value: Value) -> Bool {
      value.began < ended && !values.contains { $0.isSure && $0.began > value.ended && $0.ended < began }
    }
    let mark = SectorMark(found)
    if let value = values.first(where: { $0.writer == mark?.writer && !$0.isZero }),
      SectorMark(writer: value.writer, sector: sector).fills(found)
    {
      return isPossible(value)
    }
    if mark == nil, Self.areEqual(Self.nothing, found), values.contains(where: { $0.isZero && isPossible($0) }) {
      return true
    }
    let untouched = Value(writer: -1, isZero: false, began: 0, ended: 0, isSure: true)
    return Self.areEqual(original[sector * 512..<sector * 512 + 512], found) && isPossible(untouched)
  }
}

extension FakeTransport.Ticket {
  /// Whether it changes the disk.
  var changes: Bool { [1, 3, 5].contains(request.operationNumber) }
}

extension Request {
  /// Within `sectors` sectors, and up to 1024 of them unless all are short; one of `operations`, each as often as it is
  /// named.
  static func random(
    sectors all: Int, areShort: Bool = false, operations: [UInt8], _ random: inout SeededRandom
  ) -> Request {
    let most = areShort ? 8 : random.chance(4) ? 1024 : 32
    let length = Int.random(in: 1...most, using: &random)
    let sectors = min(length, all)
    let start = Int.random(in: 0...(all - sectors), using: &random)
    let kind = operations.randomElement(using: &random)!
    var flags: Request.Flags = []
    if kind == 1, random.chance(5) { flags = .throughCache }
    if kind == 5, random.chance(2) { flags = .keepsSpace }
    if kind == 2 { return Request(operationNumber: 2, sectors: 0, startSector: 0) }
    return Request(operationNumber: kind, flags: flags, sectors: UInt32(sectors), startSector: UInt64(start))
  }
}

import Foundation
import LSMT
import Posix
import TestSupport
import Testing

@testable import UpperLayer

@Suite("A writable layer on real files")
struct UpperTests {
  @Test("What was written is read again, in this opening and the next")
  func roundTrip() throws {
    let place = try Place()
    try place.create()
    var upper = try place.open()
    #expect(upper.recovery.isClean)
    try upper.write([(0, sectorsBytes(0, 8, 1)), (8, sectorsBytes(8, 8, 1)), (100, sectorsBytes(100, 1, 1))])
    #expect(upper.pendingCount == 2)
    try upper.write([(101, sectorsBytes(101, 3, 1))])
    #expect(upper.pendingCount == 2)
    try upper.zero(sector: 4, sectors: 2, keepsSpace: false)
    let expected = sectorsBytes(0, 4, 1) + [UInt8](repeating: 0, count: 1024) + sectorsBytes(6, 10, 1)
    #expect(try read(upper, sector: 0, sectors: 16) == expected)
    try upper.flush()
    #expect(upper.pendingCount == 0)
    try upper.close()
    #expect(try listDirectory(place.pending).isEmpty)
    upper = try place.open()
    #expect(upper.recovery.isClean)
    #expect(try read(upper, sector: 0, sectors: 16) == expected)
    #expect(try read(upper, sector: 99, sectors: 6) == [UInt8](repeating: 0, count: 512)
      + sectorsBytes(100, 4, 1) + [UInt8](repeating: 0, count: 512))
    try upper.close()
  }
}

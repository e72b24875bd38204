/// `JSONDecoder` reports a number that does not fit its type without saying where it stands. These shadow the standard
/// methods for the decoding that the compiler writes in this module, and add the key; the tests of both
/// configurations would notice if they did not.
extension KeyedDecodingContainer {
  func decodeIfPresent(_ type: UInt64.Type, forKey key: Key) throws -> UInt64? { try whole(key) }
  func decodeIfPresent(_ type: UInt32.Type, forKey key: Key) throws -> UInt32? { try whole(key) }
  func decodeIfPresent(_ type: UInt16.Type, forKey key: Key) throws -> UInt16? { try whole(key) }
  func decodeIfPresent(_ type: Int64.Type, forKey key: Key) throws -> Int64? { try whole(key) }

  private func whole<T: FixedWidthInteger & Decodable>(_ key: Key) throws -> T? {
    guard contains(key), try !decodeNil(forKey: key) else { return nil }
    do {
      return try decode(T.self, forKey: key)
    } catch let error as DecodingError {
      if case .typeMismatch = error { throw error }
      throw outOfRange(key, T.self)
    } catch {
      throw outOfRange(key, T.self)
    }
  }

  private func outOfRange<T: FixedWidthInteger>(_ key: Key, _ type: T.Type) -> DecodingError {
    .dataCorruptedError(
      forKey: key, in: self, debugDescription: "must be a whole number from \(T.min) to \(T.max)")
  }
}

import FoundationEssentials
import Host

/// Prints `value` as JSON for programs: sorted keys, one value per line.
func printJSON(_ value: some Encodable) throws(HostError) {
  let encoder = JSONEncoder()
  encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
  do {
    print(String(decoding: try encoder.encode(value), as: UTF8.self))
  } catch {
    throw .refused("the output cannot be written as JSON: \(error)")
  }
}

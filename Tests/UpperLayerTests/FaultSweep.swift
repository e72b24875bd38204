import TestSupport
import Testing

/// What goes wrong in a run, and whether the machine loses its power with it.
struct Trouble {
  let fault: FaultyDisk.Fault
  var losesPower = true

  /// What can become of an operation: the last of a machine or of a process, or one that fails.
  static let ofAnyOperation = [
    Trouble(fault: .stop), Trouble(fault: .stop, losesPower: false), Trouble(fault: .error(.ioError)),
    Trouble(fault: .error(.noSpace)),
  ]
  /// Most of them with a power loss at that operation.
  static let ofSealing =
    [
      Trouble(fault: .error(.noSpace)), Trouble(fault: .error(.noSpace)), Trouble(fault: .error(.ioError)),
      Trouble(fault: .stop, losesPower: false),
    ] + Array(repeating: Trouble(fault: .stop), count: 4)
}

/// How a run ended.
struct Ending {
  /// What is wrong; nil when nothing is.
  let failure: String?
  /// The operation that was hit.
  let operation: String
  /// Whether the run had no operation with that number.
  let isLast: Bool
}

/// Has each of `troubles` happen at operation 1, 2, 3… of a run of each seed until none is left, or something is wrong.
/// `run` gets the seed, the number of the trouble, the trouble, and the number of the operation.
func sweep(
  _ seeds: [UInt64], _ troubles: [Trouble], _ run: (UInt64, Int, Trouble, Int) throws -> Ending
) rethrows {
  for seed in seeds {
    for (kind, trouble) in troubles.enumerated() {
      var number = 1
      while true {
        let ending = try run(seed, kind, trouble, number)
        if let failure = ending.failure {
          Issue.record("WARMBLK_SEED=\(seed) trouble \(kind) at operation \(number), \(ending.operation): \(failure)")
          return
        }
        if ending.isLast { break }
        number += 1
      }
    }
  }
}

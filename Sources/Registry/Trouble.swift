/// What ``RegistryClient/onTrouble`` is told.
public enum Trouble: Equatable, Sendable {
  /// An attempt failed. `retryMilliseconds` is when the next one begins (0: at once, perhaps elsewhere); nil: the
  /// fetch has failed with it.
  case attempt(host: String, blob: String, error: RegistryError, number: Int, retryMilliseconds: Int?)
  /// A host that had failed `failures` times in a row answers again, `milliseconds` after the first of them.
  case recovered(host: String, failures: Int, milliseconds: Int)
}

extension Trouble: CustomStringConvertible {
  /// Who failed, with what, and what happens next.
  public var description: String {
    switch self {
    case .attempt(_, _, let error, let number, let pause):
      switch pause {
      case nil: "\(error) (attempt \(number), the last)"
      case 0: "\(error) (attempt \(number), the next follows at once)"
      case .some(let milliseconds): "\(error) (attempt \(number), the next in \(milliseconds) ms)"
      }
    case .recovered(let host, let failures, let milliseconds):
      "\(host) answers again, after \(failures) failures and \(milliseconds) ms"
    }
  }
}

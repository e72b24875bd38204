/// What ``RegistryClient/onTrouble`` is told.
public enum Trouble: Equatable, Sendable {
  /// An attempt failed. `retryMilliseconds` is when the next one begins (0: at once, perhaps elsewhere); nil: the
  /// fetch has failed with it.
  case attempt(host: String, blob: String, error: RegistryError, number: Int, retryMilliseconds: Int?)
  /// A host that had failed `failures` times in a row answers again, `milliseconds` after the first of them.
  case recovered(host: String, failures: Int, milliseconds: Int)
}

import Glibc
import Logging
import Posix
import Synchronization

/// Writes one line per message to standard error.
///
/// Under systemd a line begins with its priority (`<4>`), which journald understands; elsewhere with the time.
public struct LineLogHandler: LogHandler {
  /// Added to each message as `key=value`.
  public var metadata = Logger.Metadata()
  /// Messages below it are dropped.
  public var logLevel: Logger.Level
  private let hasPriorities: Bool

  /// A handler for messages of `level` and above.
  public init(level: Logger.Level) {
    logLevel = level
    hasPriorities = getenv("JOURNAL_STREAM") != nil
  }

  /// One of `metadata`.
  public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  /// Sends all loggers of this process here. Once, before the first logger is made.
  public static func install(level: Logger.Level) {
    LoggingSystem.bootstrap { _ in LineLogHandler(level: level) }
  }

  /// Writes a message.
  public func log(event: LogEvent) {
    var text = event.message.description
    for (key, value) in metadata.merging(event.metadata ?? [:], uniquingKeysWith: { $1 }).sorted(by: {
      $0.key < $1.key
    }) {
      text += " \(key)=\(value)"
    }
    LogOutput.write(
      Self.line(text, level: event.level, time: hasPriorities ? nil : time(nil)), level: event.level,
      text: text)
  }

  /// A line without its newline: with the time (seconds since 1970), or with journald's priority when that is nil.
  static func line(_ text: String, level: Logger.Level, time: time_t?) -> String {
    let flat = String(text.map { $0.isNewline ? " " : $0 })
    guard var time else { return "<\(priority(level))>\(flat)" }
    var parts = tm()
    gmtime_r(&time, &parts)
    func two(_ value: Int32) -> String { value < 10 ? "0\(value)" : "\(value)" }
    let date = "\(parts.tm_year + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))"
    return
      "\(date)T\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))Z \(level.rawValue): \(flat)"
  }

  /// syslog(3)'s numbers.
  private static func priority(_ level: Logger.Level) -> Int {
    switch level {
    case .trace, .debug: 7
    case .info: 6
    case .notice: 5
    case .warning: 4
    case .error: 3
    case .critical: 2
    }
  }
}

/// Where messages go besides standard error.
enum LogOutput {
  /// Warnings and worse are also sent to whoever waits for a device to come up: its standard error is a terminal,
  /// ours is a file.
  static let listener = Mutex<Int32?>(nil)
  /// Bytes that a log file may have; it begins anew then, since a tmpfs is memory.
  static let limit: off_t = 256 << 10

  static func write(_ line: String, level: Logger.Level, text: String) {
    var status = stat()
    if fstat(2, &status) == 0, status.st_mode & S_IFMT == S_IFREG, status.st_size > limit {
      _ = ftruncate(2, 0)
      emit("(older messages were dropped: the log may have \(limit >> 10) KiB)\n", to: 2)
    }
    emit(line + "\n", to: 2)
    if level >= .warning {
      listener.withLock { descriptor in
        if let descriptor { emit(StartMessage.warning(text).line, to: descriptor) }
      }
    }
  }

  private static func emit(_ text: String, to descriptor: Int32) {
    var text = text
    text.withUTF8 { _ = Glibc.write(descriptor, $0.baseAddress, $0.count) }
  }
}

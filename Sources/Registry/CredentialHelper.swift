import Glibc
import Posix

/// Programs that keep Docker's passwords: `docker-credential-NAME get`, the server's name on standard input, JSON on
/// standard output. Blocks: not for the loop's thread.
struct CredentialHelper {
  let program: String
  let server: String
  let deadline: Deadline
  /// Asked every 20 ms; true ends the program.
  let isCancelled: @Sendable () -> Bool

  enum Answer: Equatable {
    case found(Credentials.Secret)
    case none
    case failed(String)
  }

  /// Bytes of an answer at most.
  private static let answerLimit = 64 << 10

  func run() -> Answer {
    // The name comes from a file of the user and is looked up on the PATH: it must not be a path.
    let isName = program.utf8.allSatisfy { byte in
      (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
        || "-_.".utf8.contains(byte)
    }
    guard isName, !program.isEmpty else { return .failed("`\(program)` is no name of a credential helper") }
    do throws(Errno) {
      return try runProgram("docker-credential-\(program)")
    } catch {
      return .failed("docker-credential-\(program): \(error)")
    }
  }

  private func runProgram(_ name: String) throws(Errno) -> Answer {
    var input = try Pipe()
    var output = try Pipe()
    let childInput = input.reading.take()!
    let question = input.writing.take()!
    let childOutput = output.writing.take()!
    let answer = output.reading.take()!
    let child = try Spawn.start(
      [name, "get"], input: .descriptor(childInput.rawValue), output: .descriptor(childOutput.rawValue), .process)
    _ = consume childInput
    _ = consume childOutput
    // A name is shorter than a pipe, so this does not wait; a program that has ended already is no error.
    let isWritten = Array(server.utf8).withUnsafeBytes { write(ignoringSignal: question.rawValue, $0) }
    _ = consume question
    let (bytes, problem) = readAnswer(answer.rawValue)
    if problem != nil { kill(-child, SIGKILL) }
    let status = wait(child)
    if let problem { return .failed("\(name): \(problem)") }
    if status == 127 << 8 { return .failed("\(name) is not on the PATH") }
    guard status == 0 else {
      let text = String(decoding: bytes.prefix(200), as: UTF8.self).trimmed
      // The words of Docker's own helpers, on standard output.
      if text.lowercased().contains("credentials not found") { return .none }
      return .failed("\(name) get: status \(status >> 8 & 0xff), signal \(status & 0x7f): \(text)")
    }
    guard isWritten, let secret = DockerConfig.helperAnswer(bytes) else {
      return .failed("\(name) get: the answer is no JSON with Username and Secret")
    }
    return .found(secret)
  }

  private func write(ignoringSignal descriptor: Int32, _ bytes: UnsafeRawBufferPointer) -> Bool {
    // SIGPIPE of a pipe goes to the writing thread, so it is enough to block it here and take it.
    var pipe = sigset_t()
    var before = sigset_t()
    sigemptyset(&pipe)
    sigaddset(&pipe, SIGPIPE)
    pthread_sigmask(SIG_BLOCK, &pipe, &before)
    let count = Glibc.write(descriptor, bytes.baseAddress, bytes.count)
    if count < 0 {
      var atOnce = timespec()
      sigtimedwait(&pipe, nil, &atOnce)
    }
    pthread_sigmask(SIG_SETMASK, &before, nil)
    return count == bytes.count
  }

  /// Until the end of the output, and why not until there.
  private func readAnswer(_ descriptor: Int32) -> ([UInt8], String?) {
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 4096)
    while true {
      if isCancelled() { return (bytes, "cancelled") }
      if deadline.hasPassed { return (bytes, "did not answer in time") }
      if bytes.count > Self.answerLimit { return (bytes, "an answer of more than \(Self.answerLimit) bytes") }
      var wanted = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      guard poll(&wanted, 1, 20) > 0 else { continue }
      let count = Glibc.read(descriptor, &chunk, chunk.count)
      if count == 0 { return (bytes, nil) }
      if count > 0 { bytes += chunk[..<count] } else if errno != EINTR { return (bytes, Errno.last.description) }
    }
  }

  /// The status of a program that closed its output or was killed; one that goes on is killed.
  private func wait(_ child: pid_t) -> Int32 {
    var status: Int32 = 0
    while !deadline.hasPassed, !isCancelled() {
      let result = waitpid(child, &status, WNOHANG)
      if result == child || (result < 0 && errno != EINTR) { return status }
      usleep(2000)
    }
    kill(-child, SIGKILL)
    while waitpid(child, &status, 0) < 0, errno == EINTR {}
    return status
  }
}

import CCurl
import Posix

/// A request whose answer is short and wanted whole: of a token server, of a credential server. Of the loop's thread.
enum SmallRequest {
  struct Answer {
    let head: ResponseHead
    let body: [UInt8]
  }

  struct Failure: Error, Equatable {
    let words: String
  }

  private final class State {
    var body: [UInt8] = []
    var timer: TimerQueue.Identifier?
  }

  /// The completion is called once, unless the loop is stopped. `milliseconds` is for everything.
  static func run(
    _ request: Exchange.Request, on core: LoopCore, milliseconds: Int, sizeLimit: Int,
    completion: @escaping (Result<Answer, Failure>) -> Void
  ) {
    let state = State()
    let exchange = Exchange(
      request, onHead: { _ in .deliver },
      onBody: { bytes in
        state.body += bytes
        return state.body.count <= sizeLimit
      },
      onEnd: { end in
        core.timers.cancel(state.timer)
        completion(result(end, state.body, sizeLimit))
      })
    let limit = monotonicNanoseconds() + UInt64(milliseconds) * 1_000_000
    state.timer = core.timers.add(at: limit) {
      core.abandon(exchange)
      completion(.failure(Failure(words: "no whole answer within \(milliseconds) ms")))
    }
    core.start(exchange)
  }

  private static func result(_ end: Exchange.End, _ body: [UInt8], _ sizeLimit: Int) -> Result<Answer, Failure> {
    switch end {
    case .complete(let head): .success(Answer(head: head, body: body))
    case .stopped: .failure(Failure(words: "an answer of more than \(sizeLimit) bytes"))
    case .failed(_, let words): .failure(Failure(words: words))
    case .timeout(let phase, let milliseconds):
      .failure(Failure(words: "\(phase.rawValue) took longer than \(milliseconds) ms"))
    }
  }
}

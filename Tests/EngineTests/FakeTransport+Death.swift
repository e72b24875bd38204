import Ublk

@testable import Device

/// A server that is killed, and the next one.
extension FakeTransport {
  /// Requests that were handed out again, by how far the dead server had come with them.
  struct Reissued {
    /// It had not looked at them.
    var unseen = 0
    /// Its worker had them.
    var working = 0
    /// They were written, and not answered.
    var written = 0
    /// All.
    var total = 0
  }

  /// The server is dead: nothing of it goes on. What it had not answered is to be handed out again, in any order, for any
  /// tag, among what is new.
  func bury() {
    let unseen = Set(ready.filter { $0.kindNumber == Event.Kind.tag.rawValue }.map(\.index))
    let now = clock.tick()
    for (tag, number) in owner.sorted(by: { $0.key < $1.key }) {
      reissued.total += 1
      if unseen.contains(tag) { reissued.unseen += 1 }
      if working.contains(tag) { reissued.working += 1 }
      if let written = tickets[number].written, written > lifeBegan { reissued.written += 1 }
      tickets[number].reissues += 1
      tickets[number].sawFault = false
      // It may be there from now on, whether the server had said so or not.
      tickets[number].written = tickets[number].written ?? now
      coming.insert(number, at: Int.random(in: 0...min(8, coming.count), using: &random))
    }
    (owner, pages) = ([:], [:])
    (armed, waiting, ready, unsent) = ([], [], [], [])
    (retired, working, repairedInVain) = ([], [], [])
    timerIsSet = false
    idle = 0
    upper = nil
  }

  /// Another server comes.
  func begin(_ memory: RequestMemory, _ upper: any ServedUpper, _ life: ServerLife) {
    lastFlush = 0
    lifeBegan = clock.tick()
    self.memory = memory
    self.upper = upper
    self.life = life
  }
}

import Testing

@testable import Host

@Suite("The watcher's decisions")
struct WatchPlanTests {
  private func sighting(_ id: UInt32, server: Int32, alive: Bool) -> WatchPlan.Sighting {
    WatchPlan.Sighting(id: id, server: ProcessIdentity(pid: server, startTime: 1), isAlive: alive)
  }

  @Test("a server that dies is followed at once, and once only while the next one is on its way")
  func first() {
    var plan = WatchPlan()
    #expect(plan.look([sighting(1, server: 10, alive: true)], at: 0).isEmpty)
    #expect(plan.patience(at: 0) == nil)
    #expect(plan.look([sighting(1, server: 10, alive: false)], at: 500) == [.recover(1)])
    #expect(plan.isTrying(1))
    #expect(plan.look([sighting(1, server: 10, alive: false)], at: 501).isEmpty)
    #expect(plan.ended(1, .recovered(by: nil), at: 520) == nil)
    #expect(plan.look([sighting(1, server: 11, alive: true)], at: 520).isEmpty)
    #expect(plan.patience(at: 520) == nil)
  }

  @Test("a server that was dead before the watcher came is followed too, and devices do not wait for each other")
  func several() {
    var plan = WatchPlan()
    let all = [
      sighting(1, server: 10, alive: false), sighting(2, server: 20, alive: true),
      sighting(3, server: 30, alive: false),
    ]
    #expect(plan.look(all, at: 0) == [.recover(1), .recover(3)])
  }

  @Test("after each further death it takes longer, and after five within a minute it is over")
  func backsOff() {
    var plan = WatchPlan()
    var now: UInt64 = 1000
    var waits: [UInt64] = []
    for server in Int32(1)..<Int32(WatchPlan.deathsMax) {
      let died = now
      var actions = plan.look([sighting(1, server: server, alive: false)], at: now)
      while actions.isEmpty {
        now += plan.patience(at: now)!
        actions = plan.look([sighting(1, server: server, alive: false)], at: now)
      }
      #expect(actions == [.recover(1)])
      waits.append(now - died)
      #expect(plan.ended(1, .recovered(by: ProcessIdentity(pid: server + 1, startTime: 1)), at: now) == nil)
      _ = plan.look([sighting(1, server: server + 1, alive: true)], at: now)
      now += 10
    }
    #expect(waits == [0, 100, 400, 1600])
    let last = [sighting(1, server: 5, alive: false)]
    #expect(plan.look(last, at: now) == [.giveUp(1, deaths: 5)])
    #expect(plan.look(last, at: now + 100_000).isEmpty, "it has given up")
    #expect(plan.patience(at: now) == nil)
  }

  @Test("deaths that are longer ago do not count")
  func forgets() {
    var plan = WatchPlan()
    for death in 0..<20 {
      let now = UInt64(death) * 20_000
      let server = Int32(death)
      _ = plan.look([sighting(1, server: server, alive: true)], at: now)
      var actions = plan.look([sighting(1, server: server, alive: false)], at: now + 1)
      if actions.isEmpty { actions = plan.look([sighting(1, server: server, alive: false)], at: now + 1000) }
      #expect(actions == [.recover(1)], "death \(death)")
      _ = plan.ended(1, .recovered(by: ProcessIdentity(pid: server + 1, startTime: 1)), at: now + 1001)
    }
  }

  @Test("an attempt that fails counts as a death; one that finds somebody else at it does not")
  func attempts() {
    var plan = WatchPlan()
    let dead = [sighting(1, server: 10, alive: false)]
    #expect(plan.look(dead, at: 0) == [.recover(1)])
    for time in stride(from: UInt64(0), to: 5000, by: Int(WatchPlan.busyDelay)) {
      #expect(plan.ended(1, .busy, at: time) == nil)
      #expect(plan.patience(at: time) == WatchPlan.busyDelay)
      #expect(plan.look(dead, at: time + WatchPlan.busyDelay) == [.recover(1)])
    }
    var now: UInt64 = 5000
    #expect(plan.ended(1, .busy, at: now) == nil)
    now += WatchPlan.busyDelay
    #expect(plan.look(dead, at: now) == [.recover(1)], "and that was the first death")
    for _ in 2..<WatchPlan.deathsMax {
      #expect(plan.ended(1, .failed, at: now) == nil)
      now += plan.patience(at: now)!
      #expect(plan.look(dead, at: now) == [.recover(1)])
    }
    #expect(plan.ended(1, .failed, at: now) == .giveUp(1, deaths: 5))
    #expect(plan.look(dead, at: now + 1).isEmpty)
  }

  @Test("a device that somebody else has recovered gets its chances again")
  func afterGivingUp() {
    var plan = WatchPlan()
    let dead = [sighting(1, server: 10, alive: false)]
    _ = plan.look(dead, at: 0)
    var now: UInt64 = 0
    while plan.ended(1, .failed, at: now) == nil {
      now += plan.patience(at: now)!
      _ = plan.look(dead, at: now)
    }
    #expect(plan.look([sighting(1, server: 11, alive: true)], at: now + 1000).isEmpty)
    #expect(plan.look([sighting(1, server: 11, alive: false)], at: now + 70_000) == [.recover(1)])
  }

  @Test("a server that somebody ends to replace it has not died, however often; nor does its device wait longer")
  func handOvers() {
    var plan = WatchPlan()
    for server in Int32(0)..<50 {
      let now = UInt64(server) * 100
      #expect(plan.look([sighting(1, server: server, alive: true)], at: now).isEmpty)
      var dead = sighting(1, server: server, alive: false)
      dead.isBusy = true
      #expect(plan.look([dead], at: now + 1).isEmpty)
      #expect(plan.patience(at: now + 1) == WatchPlan.busyDelay)
    }
    #expect(plan.look([sighting(1, server: 49, alive: false)], at: 5000) == [.recover(1)], "who was at it has failed")
  }

  @Test("a device that was taken away is forgotten, also while its next server is on its way")
  func removed() {
    var plan = WatchPlan()
    #expect(plan.look([sighting(1, server: 10, alive: false)], at: 0) == [.recover(1)])
    #expect(plan.look([], at: 1).isEmpty)
    #expect(plan.ended(1, .failed, at: 2) == nil && !plan.isTrying(1))
    // The number is given to another device.
    #expect(plan.look([sighting(1, server: 12, alive: false)], at: 3) == [.recover(1)])
  }
}

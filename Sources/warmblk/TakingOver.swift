import Host

/// Gives each of these devices a new server, as `body` does it, and prints the paths of those that have one. One that cannot get
/// one does not keep the others from it.
func takeOver(
  _ ids: [UInt32], _ directory: RunDirectory, _ command: String, _ body: (UInt32) throws(HostError) -> Void
) throws(HostError) {
  var failures: [HostError] = []
  for id in ids {
    do throws(HostError) {
      try body(id)
      print("/dev/ublkb\(id)")
    } catch {
      failures.append(error)
    }
  }
  keepWatch(directory, command)
  for failure in failures.dropLast() { printError("warmblk \(command): \(failure)") }
  if let last = failures.last { throw last }
}

/// Devices that want a watcher have one, also after it was ended.
private func keepWatch(_ directory: RunDirectory, _ command: String) {
  do throws(HostError) {
    try Watcher.ensureIfWanted(directory) { printError("warmblk \(command): note: \($0)") }
  } catch {
    printError("warmblk \(command): warning: no watcher: \(error)")
  }
}

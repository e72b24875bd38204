import BlobStore
import Glibc

@testable import Device

/// Reads of layers, as they are, cut, failing, and late.
extension FakeTransport {
  func read(
    _ file: LayerFile, offset: UInt64, into target: UnsafeMutableRawPointer, count: UInt32, operation: UInt32
  ) {
    let tag = Int(operation) / RequestState.operationsMax
    later { [self] in
      let (result, bytes) = perform(file, offset, Int(count), tag)
      bytes.withUnsafeBytes { if $0.count > 0 { target.copyMemory(from: $0.baseAddress!, byteCount: $0.count) } }
      return [Event(.operation, operation, result: Int32(result))]
    }
  }

  func read(
    _ file: LayerFile, offset: UInt64, intoRequest tag: Int, position: UInt32, count: UInt32, operation: UInt32
  ) {
    if dataPath != .zeroCopy { complaints.append("a zero-copy read in a copying device") }
    later { [self] in
      let (result, bytes) = perform(file, offset, Int(count), tag)
      put(bytes, tag, Int(position))
      return [Event(.operation, operation, result: Int32(result))]
    }
  }

  func readAndCommit(_ file: LayerFile, offset: UInt64, tag: Int, count: UInt32, operation: UInt32) {
    if dataPath != .zeroCopy { complaints.append("a quiet read in a copying device") }
    later { [self] in
      let (result, bytes) = perform(file, offset, Int(count), tag)
      put(bytes, tag, 0)
      // As the kernel does it: a quiet read that succeeded in full says nothing, any other takes its answer along.
      if result != Int(count) { return [Event(.operation, operation, result: Int32(result))] }
      answer(tag, Int32(count), data: bytes)
      return []
    }
  }

  func readNow(_ file: LayerFile, offset: UInt64, into target: UnsafeMutableRawPointer, count: Int) -> Int {
    // Interruptions do not leave a plain read: the transport repeats it.
    var result = -Int(EINTR)
    var bytes: [UInt8] = []
    while result == -Int(EINTR) || result == -Int(EAGAIN) { (result, bytes) = perform(file, offset, count, nil) }
    bytes.withUnsafeBytes { if $0.count > 0 { target.copyMemory(from: $0.baseAddress!, byteCount: $0.count) } }
    return result
  }

  func readCached(
    _ file: LayerFile, offset: UInt64, into target: UnsafeMutableRawPointer, count: Int
  ) -> Int {
    if random.chance(3) { return 0 }
    if file.descriptor >= 0 {
      let (result, bytes) = performOnFile(
        file, offset, random.chance(3) ? (count / 512 + 1) / 2 * 512 : count, nil)
      bytes.withUnsafeBytes { if $0.count > 0 { target.copyMemory(from: $0.baseAddress!, byteCount: $0.count) } }
      return result
    }
    let content = files[Int(file.slot) - 1]
    let there = content.dropLast(faults.truncation).dropFirst(Int(offset)).prefix(count)
    let bytes = Array(random.chance(3) ? there.prefix(there.count / 2) : there)
    bytes.withUnsafeBytes { if $0.count > 0 { target.copyMemory(from: $0.baseAddress!, byteCount: $0.count) } }
    return bytes.count
  }

  func copyCached(
    _ file: LayerFile, offset: UInt64, count: Int, toRequest tag: Int, position: Int
  ) -> Int? {
    if dataPath != .userCopy { complaints.append("a copy from the page cache in another kind of device") }
    if random.chance(3) { return nil }
    var done = 0
    while done < count {
      let (result, bytes) = perform(file, offset + UInt64(done), count - done, tag)
      // The transport repeats what was interrupted, and goes on after a part.
      if result == -Int(EINTR) || result == -Int(EAGAIN) { continue }
      if result <= 0 { return result < 0 ? result : done }
      put(bytes, tag, position + done)
      done += result
    }
    return done
  }

  func copyNow(_ source: UnsafeRawPointer, count: Int, toRequest tag: Int, position: Int) -> Int {
    if dataPath == .copy { complaints.append("a user copy in a copying device") }
    if strike(faults.copyError) {
      markFault(tag)
      return -Int(EFAULT)
    }
    put(Array(UnsafeRawBufferPointer(start: source, count: count)), tag, position)
    return count
  }

  func put(_ bytes: [UInt8], _ tag: Int, _ position: Int) {
    guard let number = owner[tag] else { return complaints.append("tag \(tag) got data without a request") }
    let size = Int(tickets[number].request.sectors) * 512
    if position + bytes.count > size { return complaints.append("data beyond the end of a request") }
    pages[tag, default: [UInt8](repeating: 0xee, count: size)].replaceSubrange(
      position..<position + bytes.count, with: bytes)
  }

  // MARK: Files

  /// One attempt to read: the result as the kernel gives it, and the bytes that came.
  func perform(_ file: LayerFile, _ offset: UInt64, _ count: Int, _ tag: Int?) -> (Int, [UInt8]) {
    if strike(faults.interruption) { return (-Int(random.chance(2) ? EINTR : EAGAIN), []) }
    if strike(faults.error) {
      markFault(tag)
      return (-Int(EIO), [])
    }
    if file.descriptor >= 0 { return performOnFile(file, offset, count, tag) }
    let content = content(of: file)
    let end = max(0, content.count - faults.truncation)
    guard Int(offset) < end else {
      markFault(tag)
      return (0, [])
    }
    var length = min(count, end - Int(offset))
    if length > 1, strike(faults.shortRead) { length = Int.random(in: 1..<length, using: &random) }
    return (length, Array(content[Int(offset)..<Int(offset) + length]))
  }

  /// A file that there is: an upper, or a layer that was one.
  func performOnFile(_ file: LayerFile, _ offset: UInt64, _ count: Int, _ tag: Int?) -> (Int, [UInt8]) {
    // The kernel comes short at the end of a page: a sector that is given back meanwhile is not torn by that.
    let length =
      count > 512 && strike(faults.shortRead) ? Int.random(in: 1...count / 512 - 1, using: &random) * 512 : count
    var bytes = [UInt8](repeating: 0, count: length)
    let result = pread(file.descriptor, &bytes, length, Int(offset))
    if result < length {
      complaints.append("the upper's data ends at a mapping: \(result) of \(length) bytes at \(offset)")
      markFault(tag)
    }
    return (result, Array(bytes.prefix(max(0, result))))
  }

  /// Slot 0 is the character device, then come the layers, then what remote ones have in memory.
  func content(of file: LayerFile) -> [UInt8] {
    let number = Int(file.slot) - 1
    if number >= files.count { return remotes[number - files.count]!.memory }
    return remotes[number]?.cache ?? files[number]
  }

  func want(layer: Int, offset: UInt64, count: UInt32, operation: UInt32, damaged: BlobView.Lease?) {
    let isRepair = damaged != nil
    let tag = Int(operation) / RequestState.operationsMax
    guard let remote = remotes[layer] else { return complaints.append("a local layer was wanted") }
    wants += 1
    if isRepair { repairs += 1 }
    later { [self] in
      let chunks = remote.chunks(offset, Int(count))
      if strike(faults.fetchError) {
        markFault(tag)
        return [Event(.fetched, operation, result: -EIO)]
      }
      if isRepair { repair(remote, chunks, operation) }
      let isNew = remote.bring(chunks, toMemory: random.chance(3))
      if remote.hasChecksums, isRepair || isNew, strike(isRepair ? faults.spoilingForGood : faults.spoiling) {
        remote.spoil(chunks.randomElement(using: &random)!)
        if isRepair { for number in owner.values { tickets[number].sawFault = true } }
      }
      return [Event(.fetched, operation, result: 0)]
    }
  }

  /// Drops what was found damaged; or nothing, as when another reader has repaired a part of it meanwhile.
  func repair(_ remote: TestRemote, _ chunks: ClosedRange<Int>, _ operation: UInt32) {
    if repairedInVain.remove(operation) == nil, random.chance(3) {
      repairedInVain.insert(operation)
    } else {
      for chunk in chunks { remote.drop(chunk) }
    }
  }

  func dropSomething() {
    guard let remote = remotes.compactMap({ $0 }).randomElement(using: &random), strike(faults.drop) else { return }
    remote.drop(Int.random(in: 0..<remote.chunkCount, using: &random))
  }

  func strike(_ oneIn: Int) -> Bool { oneIn > 0 && random.chance(oneIn) }

  func markFault(_ tag: Int?) {
    if let tag, let number = owner[tag] {
      tickets[number].sawFault = true
    } else {
      // What happens at once does not say for which request it is: any that is being served may see it.
      for number in owner.values { tickets[number].sawFault = true }
    }
  }
}

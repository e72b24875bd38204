#if WARMBLK_CHECKS
  extension UpperIndex {
    /// Walks a region that was written to, without its lock: for the writer.
    func checkRegion(_ number: UInt64) {
      let region = table.regions + Int(number)
      let state = region.pointee.peek
      precondition(!state.isUntouched)
      if state.capacity == 0 {
        precondition(state.count == 1)
        check(UpperValue(rawValue: region.pointee.content))
        precondition(UpperValue(rawValue: region.pointee.content).isMapped)
        return
      }
      precondition(state.count >= 2 && state.count <= state.capacity)
      precondition(state.capacity <= 4 || state.count * 3 > state.capacity)
      let block = UpperBlock(address: region.pointee.content, capacity: state.capacity)
      precondition(block.starts[0] == 0)
      precondition(UInt64(block.starts[state.count]) == table.regionSectors)
      for index in 0..<state.count {
        precondition(block.starts[index] < block.starts[index + 1])
        precondition(index == 0 || block.values[index] != block.values[index - 1])
        precondition(block.index(of: block.starts[index], count: state.count) == index)
        precondition(block.index(of: block.starts[index + 1] - 1, count: state.count) == index)
        check(block.values[index])
      }
    }

    private func check(_ value: UpperValue) {
      precondition(value == .unmapped || value == .zeroes || value.rawValue >> 55 == 1 << 8)
    }
  }
#endif

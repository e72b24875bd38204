extension Erofs {
  /// The physical clusters of a compressed file.
  func clusters(of file: Node) throws(FileSystemError) -> [DiskRange] {
    let index = try ErofsIndex(self, file)
    var ranges: [DiskRange] = []
    // What has begun, and may be told to be longer by the cluster that follows.
    var head: (cluster: ErofsIndex.Cluster, blocks: UInt64, isFirst: Bool)?
    var position: UInt64 = 0
    func finish() throws(FileSystemError) {
      guard let (cluster, blocks, _) = head else { return }
      if let block = cluster.block { ranges.append(try range(block, blocks, file.number)) }
      head = nil
    }
    func add(_ cluster: ErofsIndex.Cluster) throws(FileSystemError) {
      try disk.work(1)
      if case .following(let stored) = cluster {
        guard let last = head else { throw index.damaged("begins with the middle of something") }
        if let stored, last.isFirst, index.mayBeBig(last.cluster) {
          guard stored > 0 else { throw index.damaged("has a cluster of no blocks") }
          head = (last.cluster, stored, false)
        } else {
          head?.isFirst = false
        }
      } else {
        // One that begins at or behind the end of the file has no content.
        if position << layout.blockBits + (cluster.offset ?? 0) < file.size {
          try finish()
          head = (cluster, 1, true)
        }
      }
      position += 1
    }
    while position < index.clusters {
      if index.isCompact {
        let pack = index.pack(of: position)
        for cluster in try index.compactClusters(pack, disk) where position < index.clusters { try add(cluster) }
      } else {
        try add(try index.fullCluster(position, disk))
      }
    }
    // The last one may follow the index instead.
    if index.tailSize > 0 {
      ranges.append(try tail(index))
    } else {
      try finish()
    }
    return ranges
  }

  private func tail(_ index: ErofsIndex) throws(FileSystemError) -> DiskRange {
    let start = index.end
    guard start <= disk.size, index.tailSize <= disk.size - start, start % blockSize + index.tailSize <= blockSize
    else {
      throw index.damaged("is followed by \(index.tailSize) bytes of content that do not fit in its block")
    }
    return start..<start + index.tailSize
  }
}

extension ErofsIndex.Cluster {
  var block: UInt64? {
    switch self {
    case .compressed(_, let block, _), .plain(let block, _): block
    case .following: nil
    }
  }

  var offset: UInt64? {
    switch self {
    case .compressed(_, _, let offset), .plain(_, let offset): offset
    case .following: nil
    }
  }
}

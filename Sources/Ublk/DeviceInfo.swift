import CUblk

/// A device as the driver describes it (`struct ublksrv_ctrl_dev_info`).
public struct DeviceInfo: Sendable {
  var raw = ublk_dev_info()

  /// Where a device is in its life.
  public enum State: UInt16, Sendable {
    /// No disk: not started yet, or stopped.
    case dead = 0
    /// The disk answers.
    case live = 1
    /// The server is gone, requests wait.
    case quiesced = 2
    /// The server is gone, requests fail (6.13).
    case failing = 3
  }

  /// The number N of `/dev/ublkbN`.
  public var id: UInt32 { raw.dev_id }
  /// Hardware queues.
  public var queues: Int { Int(raw.nr_hw_queues) }
  /// Requests that a queue may have in flight.
  public var depth: Int { Int(raw.queue_depth) }
  /// The largest request, in bytes.
  public var requestBytesMax: Int { Int(raw.max_io_buf_bytes) }
  /// The state, or nil for a number that this version does not know.
  public var state: State? { State(rawValue: raw.state) }
  /// The server's process id, or nil when there is none.
  public var serverPID: Int32? { raw.server_pid > 0 ? raw.server_pid : nil }
  /// What was granted.
  public var features: Features { Features(rawValue: raw.flags) }
}

/// What a device tells the block layer (`struct ublk_params`).
public struct Parameters: Sendable {
  /// The size, in sectors of 512 bytes.
  public var sectors: UInt64
  /// What of the disk may be changed, and how; nil where the kernel refuses writes.
  public var writing: Writing?
  /// log2 of the smallest addressable block, in bytes: 9 to 12.
  public var logicalBlockShift: UInt8
  /// log2 of the block that is cheapest to read, in bytes.
  public var physicalBlockShift: UInt8
  /// log2 of the request size that is best for throughput, in bytes.
  public var optimalIOShift: UInt8
  /// The largest request, in bytes.
  public var requestBytesMax: Int
  /// The memory alignment that zero-copy reads need, in bytes minus one (6.15); nil keeps the driver's.
  public var memoryAlignmentMask: UInt32?

  /// How a disk is written to. It has a volatile cache: what a completed FLUSH does not cover may be lost, and WRITEs that
  /// must not be (FUA) arrive as such.
  public struct Writing: Sendable {
    /// What a DISCARD should be a multiple of, in bytes.
    public var discardGranularity: UInt32
    /// The largest DISCARD, in sectors. Before 6.11 the block layer loses the upper bits of 4 GiB and more.
    public var discardSectorsMax: UInt32
    /// The largest WRITE_ZEROES, in sectors.
    public var writeZeroesSectorsMax: UInt32

    /// All fields.
    public init(discardGranularity: UInt32, discardSectorsMax: UInt32, writeZeroesSectorsMax: UInt32) {
      self.discardGranularity = discardGranularity
      self.discardSectorsMax = discardSectorsMax
      self.writeZeroesSectorsMax = writeZeroesSectorsMax
    }
  }

  /// All fields.
  public init(
    sectors: UInt64, writing: Writing? = nil, logicalBlockShift: UInt8, physicalBlockShift: UInt8,
    optimalIOShift: UInt8,
    requestBytesMax: Int, memoryAlignmentMask: UInt32? = nil
  ) {
    self.sectors = sectors
    self.writing = writing
    self.logicalBlockShift = logicalBlockShift
    self.physicalBlockShift = physicalBlockShift
    self.optimalIOShift = optimalIOShift
    self.requestBytesMax = requestBytesMax
    self.memoryAlignmentMask = memoryAlignmentMask
  }

  var raw: ublk_params {
    var params = ublk_params()
    params.len = UInt32(MemoryLayout<ublk_params>.size)
    params.types = 1 << 0
    // READ_ONLY, or VOLATILE_CACHE and FUA: FUA alone the driver ignores.
    params.basic.attrs = writing == nil ? 1 : 4 | 8
    params.basic.logical_bs_shift = logicalBlockShift
    params.basic.physical_bs_shift = physicalBlockShift
    params.basic.io_opt_shift = optimalIOShift
    params.basic.io_min_shift = logicalBlockShift
    params.basic.max_sectors = UInt32(requestBytesMax >> 9)
    params.basic.dev_sectors = sectors
    if let writing {
      params.types |= 1 << 1
      params.discard.granularity = writing.discardGranularity
      params.discard.max_discard_sectors = writing.discardSectorsMax
      params.discard.max_write_zeroes_sectors = writing.writeZeroesSectorsMax
      params.discard.max_discard_segments = 1
    }
    if let memoryAlignmentMask {
      params.types |= 1 << 4
      params.dma.alignment = memoryAlignmentMask
    }
    return params
  }
}

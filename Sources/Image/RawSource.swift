import CLinux
import Glibc
import Posix

/// A raw disk image that is read once, front to back: a file, a block device, or standard input.
struct RawSource: ~Copyable {
  /// A step through the source; bytes.
  enum Piece: Equatable {
    /// So many bytes that a file's holes say are zeroes.
    case hole(UInt64)
    /// So many bytes, now in the buffer.
    case data(Int)
  }

  let path: String
  /// Bytes of the whole; nil for a stream, whose end is known when it comes.
  let size: UInt64?
  private let descriptor: Descriptor
  private let seeksHoles: Bool
  private(set) var position: UInt64 = 0

  /// Opens `path`; `-` is standard input.
  static func open(_ path: String) throws(ImageError) -> RawSource {
    do throws(Errno) {
      let isInput = path == "-"
      let descriptor = isInput ? try duplicatedInput() : try Descriptor.open(path)
      let status = try descriptor.status()
      let kind = status.st_mode & S_IFMT
      // A file on standard input that somebody has begun to read is a stream like any other.
      let isWhole = !isInput || lseek(descriptor.rawValue, 0, SEEK_CUR) == 0
      if kind == S_IFREG, isWhole {
        return RawSource(path: path, size: UInt64(max(0, status.st_size)), descriptor: descriptor, seeksHoles: true)
      }
      if kind == S_IFBLK, isWhole {
        let size = try retryingInterrupts { lseek(descriptor.rawValue, 0, SEEK_END) }
        return RawSource(path: path, size: UInt64(size), descriptor: descriptor, seeksHoles: false)
      }
      if kind == S_IFDIR { throw Errno(rawValue: EISDIR) }
      return RawSource(
        path: isInput ? "standard input" : path, size: nil, descriptor: descriptor, seeksHoles: false)
    } catch {
      throw .system(call: "opening the raw image", path: path, error)
    }
  }

  private init(path: String, size: UInt64?, descriptor: consuming Descriptor, seeksHoles: Bool) {
    self.path = path
    self.size = size
    self.descriptor = descriptor
    self.seeksHoles = seeksHoles
  }

  private static func duplicatedInput() throws(Errno) -> Descriptor {
    let copy = dup(0)
    if copy < 0 { throw .last }
    return Descriptor(owning: copy)
  }

  /// The next piece; nil at the end. All pieces but the last begin and end at multiples of `grain` bytes, which
  /// divides the size of `buffer`.
  mutating func next(into buffer: UnsafeMutableRawBufferPointer, grain: UInt64) throws(ImageError) -> Piece? {
    do throws(Errno) {
      guard let size else { return try nextOfStream(into: buffer) }
      if position >= size { return nil }
      var end = size
      if seeksHoles {
        let data = try seek(SEEK_DATA, from: position, size)
        // Aligned down to the grain, unless there is only a hole left.
        let next = data == size ? size : data / grain * grain
        if next > position {
          defer { position = next }
          return .hole(next - position)
        }
        end = min(size, (try seek(SEEK_HOLE, from: data, size) + grain - 1) / grain * grain)
      }
      let count = Int(min(end - position, UInt64(buffer.count)))
      let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<count])
      let got = try descriptor.readFully(into: part, at: position)
      if got < count { throw .shortened }
      position += UInt64(count)
      return .data(count)
    } catch {
      let problem = error == .shortened ? ": the file became shorter while it was read" : ""
      throw .system(call: "reading at \(position)\(problem)", path: path, error)
    }
  }

  private mutating func nextOfStream(into buffer: UnsafeMutableRawBufferPointer) throws(Errno) -> Piece? {
    var done = 0
    while done < buffer.count {
      let count = try descriptor.read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[done...]))
      if count == 0 { break }
      done += count
    }
    position += UInt64(done)
    return done == 0 ? nil : .data(done)
  }

  /// `lseek(2)` with `SEEK_DATA` or `SEEK_HOLE`; the file's end when nothing follows.
  private borrowing func seek(_ whence: Int32, from offset: UInt64, _ size: UInt64) throws(Errno) -> UInt64 {
    do throws(Errno) {
      return min(size, UInt64(try retryingInterrupts { lseek(descriptor.rawValue, Int(offset), whence) }))
    } catch {
      if error.rawValue == ENXIO { return size }
      throw error
    }
  }
}

extension Errno {
  /// What a read that comes back short is called.
  fileprivate static let shortened = Errno(rawValue: ENODATA)
}

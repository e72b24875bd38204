import Posix
import TestSupport

/// eStargz layers as the specification has them, written by Python's own gzip.
enum Stargz {
  /// What is done to a layer.
  struct Making {
    /// Names, in the layer's order; one that ends with a slash is a directory. Each has a few bytes of content.
    var names: [String]
    /// `today`, `old` or `external`.
    var footer = "today"
    /// Files that follow each other share a gzip member.
    var shared = false
    var level = 9
  }

  /// Writes a layer and, for an external table, that beside it. Returns both paths.
  static func make(_ making: Making, in scratch: Scratch) throws -> (layer: String, contents: String) {
    let script = try scratch.write("stargz.py", source)
    let names = try scratch.write("names", making.names.joined(separator: "\0"))
    try runProgram([
      "python3", script, scratch("layer"), scratch("toc"), names, making.footer, making.shared ? "1" : "0",
      "\(making.level)",
    ])
    return (scratch("layer"), scratch("toc"))
  }

  private static let source = """
    import io, json, struct, sys, tarfile, zlib
    layer, toc, names, footer, shared, level = sys.argv[1:]
    def member(data, extra=b''):
        packer = zlib.compressobj(int(level), zlib.DEFLATED, -15)
        body = packer.compress(data) + packer.flush() if data else b'\\x01\\x00\\x00\\xff\\xff'
        flags = b'\\x04' if extra else b'\\x00'
        head = b'\\x1f\\x8b\\x08' + flags + b'\\0\\0\\0\\0\\0\\xff'
        if extra: head += struct.pack('<H', len(extra)) + extra
        return head + body + struct.pack('<II', zlib.crc32(data), len(data) & 0xffffffff)
    def header(name, size, kind=tarfile.REGTYPE):
        info = tarfile.TarInfo(name)
        info.size, info.type = size, kind
        return info.tobuf(tarfile.USTAR_FORMAT if len(name) < 100 else tarfile.PAX_FORMAT)
    out, entries, inner = io.BytesIO(), [], 0
    pending, start = b'', 0
    for name in open(names, newline='').read().split('\\0'):
        if name.endswith('/'):
            entries.append({'name': name, 'type': 'dir', 'mode': 493})
            out.write(member(header(name, 0, tarfile.DIRTYPE)))
            continue
        data = b'\\x0f' if name.endswith('landmark') else ('content of ' + name).encode() * 40
        pad = b'\\0' * (-len(data) % 512)
        entry = {'name': name, 'type': 'reg', 'size': len(data), 'mode': 420}
        if shared == '1' and not name.endswith('landmark'):
            # One member for all that come up to a landmark: the same offset, growing places inside.
            if not pending:
                out.write(member(header('shared', 0)))
                start = out.tell()
            entry['offset'], entry['innerOffset'] = start, len(pending)
            pending += data + pad
            entries.append(entry)
            continue
        if pending:
            out.write(member(pending)); pending = b''
        out.write(member(header(name, len(data))))
        entry['offset'] = out.tell()
        entries.append(entry)
        half = len(data) // 2
        out.write(member(data[:half]))
        entries.append({'name': name, 'type': 'chunk', 'offset': out.tell(), 'chunkOffset': half})
        out.write(member(data[half:] + pad))
    if pending: out.write(member(pending))
    entries.reverse()
    text = json.dumps({'version': 1, 'entries': entries}, indent='\\t').encode()
    table = member(header('stargz.index.json', len(text)) + text + b'\\0' * (-len(text) % 512) + b'\\0' * 1024)
    def subfield(value): return b'SG' + struct.pack('<H', len(value)) + value
    if footer == 'external':
        out.write(member(b'', subfield(b'STARGZEXTERNALTOC')))
        open(toc, 'wb').write(table)
    else:
        place = b'%016xSTARGZ' % out.tell()
        out.write(table)
        out.write(member(b'', subfield(place) if footer == 'today' else place))
    open(layer, 'wb').write(out.getvalue())
    """
}

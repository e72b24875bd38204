import ArgumentParser
import FileSystems
import Host
import Image
import Posix
import Trace

struct TraceFromFiles: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "from-files",
    abstract: "Make a trace of files: what reading them would touch.",
    discussion: """
      For what nobody could record: the image is not mounted and nothing of it is
      run. Its disk has to be one ext2, ext3, ext4 or EROFS, not partitioned. Files
      are wanted in the order in which they are named, each after its inode and
      the directories before it.

        warmblk trace from-files --config image.json /usr/lib/web/ -o web.trace
        warmblk trace from-files --config image.json --list start.txt -o web.trace
        warmblk trace from-files --config image.json --metadata -o web.trace
        warmblk trace from-estargz layer.tar.gz -o start.txt

      A list is text, a path on each line; a path that ends with / or /* is a
      directory with all that is in it. Symbolic links are followed, except inside of
      such a directory. Empty lines and lines that begin with # are passed over. All
      other bytes are taken as they are, spaces too. What is not there is named on
      standard error and left out. No content is read.

      Exit code 1: nothing that was named could be found.
      """)

  @Argument(help: ArgumentHelp("Files and directories, as in a list.", valueName: "path"))
  var paths: [String] = []

  @Option(help: ArgumentHelp("The image.", valueName: "image.json"))
  var config: String

  @Option(
    help: ArgumentHelp("A list of them; - is standard input. May be given several times.", valueName: "file"))
  var list: [String] = []

  @Flag(
    help: "First the file system's own data: superblock, tables, bitmaps, inodes in use, directories, maps of blocks.")
  var metadata = false

  @Flag(help: "Of files only their content, not what is read to find it.")
  var contentOnly = false

  @OptionGroup var output: TraceOutput

  @OptionGroup var remote: RemoteArguments

  @OptionGroup var common: CommonOptions

  func validate() throws {
    if paths.isEmpty, list.isEmpty, !metadata { throw ValidationError("Name files, a --list, or --metadata.") }
  }

  func run() throws {
    common.installLog()
    try failing("trace from-files") { () throws(HostError) in
      try output.check()
      let files = ImageFiles(entries: try entries(), withMetadata: metadata, withWalk: !contentOnly)
      let settings = try remote.settings()
      let (found, fileSystem, made) = try imageResult { () throws(ImageError) in
        let image = try Image.open(configPath: config, remote: settings, upper: .offline)
        let (found, fileSystem) = try image.find(files)
        return (found, fileSystem, try image.trace(of: found))
      }
      report(found)
      for note in made.notes { printError("warmblk trace from-files: \(note): left out") }
      guard !found.ranges.isEmpty else {
        throw .refused("nothing was found on the \(fileSystem); no trace was written")
      }
      try output.write(made.trace)
      output.report(summary(found, fileSystem))
    }
  }

  private func entries() throws(HostError) -> [FileList.Entry] {
    var entries: [FileList.Entry] = []
    for path in list {
      let bytes: [UInt8]
      do throws(Errno) { bytes = try readFile(path == "-" ? "/dev/stdin" : path) } catch {
        throw .system(what: "reading \(path)", error)
      }
      do throws(FileSystemError) { entries += try FileList(parsing: bytes).entries } catch {
        throw .refused("\(path): \(error)")
      }
    }
    return entries + paths.map { FileList.Entry(path: Array($0.utf8)) }
  }

  private func report(_ found: Resolution) {
    for problem in found.problems { printError("warmblk trace from-files: \(problem)") }
    let more = found.problemCount - found.problems.count
    if more > 0 { printError("warmblk trace from-files: \(more) more like these") }
  }

  private func summary(_ found: Resolution, _ fileSystem: String) -> String {
    "\(found.files) files, \(formatBytes(found.contentBytes)) of content and \(formatBytes(found.metadataBytes)) of metadata "
      + "in \(found.ranges.count) ranges, on \(fileSystem)"
  }
}

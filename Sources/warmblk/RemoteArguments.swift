import ArgumentParser
import Host
import Image

/// How layers that are in a registry are had.
struct RemoteArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "overlaybd's service configuration: cache, credentials, proxies. Default: /etc/overlaybd/overlaybd.json, if it exists.",
      valueName: "overlaybd.json"))
  var serviceConfig: String?

  @Option(
    help: ArgumentHelp(
      "Folder of the node's cache of remote layers. Default: as the service configuration says, else /var/lib/warmblk/cache.",
      valueName: "dir"))
  var cache: String?

  @Flag(help: "No cache: what is read of remote layers stays in memory for a while, and is fetched again later.")
  var noCache = false

  @Option(
    help: ArgumentHelp("Seconds that a read of a remote layer may take. Default: 30.", valueName: "seconds"))
  var ioTimeout: Int?

  @Option(
    help: ArgumentHelp(
      "What becomes of it then: fail with an I/O error, or wait for a registry that will be back. Default: fail.",
      valueName: "fail|wait"))
  var onTimeout: Policy?

  enum Policy: String, ExpressibleByArgument { case fail, wait }

  func validate() throws {
    if let ioTimeout, !(1...86_400).contains(ioTimeout) {
      throw ValidationError("--io-timeout \(ioTimeout): 1 to 86400 seconds.")
    }
    if cache != nil, noCache { throw ValidationError("--cache and --no-cache exclude each other.") }
  }

  /// The service's settings with what the options say instead.
  func settings() throws(HostError) -> RemoteSettings { try choices.settings() }

  /// What the options say.
  var choices: RemoteChoices {
    var choices = RemoteChoices()
    choices.serviceConfig = serviceConfig.map { absolutePath($0) }
    choices.cacheFolder = cache.map { absolutePath($0) }
    choices.hasCache = !noCache
    choices.ioTimeout = ioTimeout.map { $0 * 1000 }
    choices.waitsForever = onTimeout.map { $0 == .wait }
    return choices
  }
}

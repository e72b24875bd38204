// swift-tools-version: 6.1
import PackageDescription

// WARMBLK_CHECKS=1 walks every index after it is built and checks invariants on the request path.
let checks: [SwiftSetting] =
  Context.environment["WARMBLK_CHECKS"] == nil ? [] : [.define("WARMBLK_CHECKS")]
// WARMBLK_STRICT=1 turns warnings into errors; `.ci/run` sets it.
let strict: [SwiftSetting] =
  Context.environment["WARMBLK_STRICT"] == nil ? [] : [.unsafeFlags(["-warnings-as-errors"])]
let settings: [SwiftSetting] = checks + strict

let package = Package(
  name: "warmblk",
  products: [
    .executable(name: "warmblk", targets: ["warmblk"])
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
    .package(url: "https://github.com/apple/swift-crypto", from: "4.5.0"),
  ],
  targets: [
    // Thin C: headers and static inline functions, no logic and no state.
    .systemLibrary(
      name: "CUring", path: "CShims/CUring", pkgConfig: "liburing",
      providers: [.apt(["liburing-dev"])]),
    .systemLibrary(
      name: "CCodecs", path: "CShims/CCodecs", pkgConfig: "libzstd",
      providers: [.apt(["libzstd-dev", "liblz4-dev"])]),
    .systemLibrary(
      name: "CCurl", path: "CShims/CCurl", providers: [.apt(["libcurl4-openssl-dev"])]),
    .systemLibrary(name: "CLinux", path: "CShims/CLinux"),
    .systemLibrary(name: "CUblk", path: "CShims/CUblk"),

    // The kernel.
    .target(name: "Posix", dependencies: ["CLinux"], swiftSettings: settings),
    .target(name: "Ring", dependencies: ["CUring", "Posix"], swiftSettings: settings),
    .target(name: "Ublk", dependencies: ["Ring", "Posix", "CUblk"], swiftSettings: settings),

    // Pure formats: no I/O, no Foundation.
    .target(name: "LSMT", dependencies: ["CLinux"], swiftSettings: settings),
    .target(name: "ZFile", dependencies: ["CCodecs"], swiftSettings: settings),
    .target(name: "Trace", dependencies: ["JSON", "ZFile"], swiftSettings: settings),

    .target(name: "JSON", swiftSettings: settings),
    // Files of a disk that nobody has mounted, and tables of contents of eStargz layers.
    .target(name: "FileSystems", dependencies: ["JSON", "ZFile"], swiftSettings: settings),

    // Blobs of an OCI registry. libcurl is loaded when the first connection is wanted, not linked.
    .target(name: "Registry", dependencies: ["JSON", "Posix", "CCurl", "CLinux"], swiftSettings: settings),

    // The files of a writable layer: appends, recovery, durability.
    .target(name: "UpperLayer", dependencies: ["LSMT", "Posix", "CLinux"], swiftSettings: settings),

    // From an image's configuration to extents, and from extents to a device.
    .target(
      name: "BlobStore",
      dependencies: ["Registry", "Posix", "CLinux", "ZFile", .product(name: "Crypto", package: "swift-crypto")],
      swiftSettings: settings),
    .target(
      name: "Image",
      dependencies: [
        "BlobStore", "Registry", "UpperLayer", "LSMT", "ZFile", "JSON", "Trace", "FileSystems", "Posix", "CLinux",
      ],
      swiftSettings: settings),
    .target(
      name: "Device",
      dependencies: ["Image", "UpperLayer", "BlobStore", "Ublk", "Ring", "LSMT", "ZFile", "Posix", "CLinux"],
      swiftSettings: settings),
    .target(
      name: "Host",
      dependencies: [
        "Device", "Image", "UpperLayer", "BlobStore", "Registry", "Trace", "Ublk", "Ring", "LSMT", "Posix", "CLinux",
        .product(name: "Logging", package: "swift-log"),
      ],
      swiftSettings: settings),
    .executableTarget(
      name: "warmblk",
      dependencies: [
        "Host", "Device", "Image", "Ublk", "LSMT", "ZFile", "Trace", "FileSystems", "BlobStore", "Posix",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Logging", package: "swift-log"),
      ],
      swiftSettings: settings,
      // Symbols double the file, and every start maps it.
      linkerSettings: [.unsafeFlags(["-Xlinker", "-s"], .when(configuration: .release))]),

    .executableTarget(
      name: "warmblk-bench", dependencies: ["Image", "LSMT", "Posix", "Trace", "ZFile", "CCodecs", "CLinux"],
      path: "Sources/Bench",
      swiftSettings: settings),

    .testTarget(name: "LSMTTests", dependencies: ["LSMT"], swiftSettings: settings),
    .testTarget(name: "ZFileTests", dependencies: ["ZFile"], swiftSettings: settings),
    .testTarget(name: "TraceTests", dependencies: ["Trace", "ZFile", "TestSupport"], swiftSettings: settings),
    .testTarget(
      name: "FileSystemsTests", dependencies: ["FileSystems", "JSON", "ZFile", "TestSupport", "Posix"],
      swiftSettings: settings),
    .testTarget(
      name: "UpperLayerTests", dependencies: ["UpperLayer", "LSMT", "TestSupport", "Posix", "CLinux"],
      swiftSettings: settings),
    .testTarget(
      name: "ImageTests",
      dependencies: [
        "Image", "BlobStore", "Registry", "TestRegistry", "TestSupport", "UpperLayer", "LSMT", "ZFile", "Trace",
        "FileSystems",
        "Posix",
      ],
      swiftSettings: settings),
    .target(name: "TestSupport", dependencies: ["Posix"], path: "Tests/TestSupport", swiftSettings: settings),
    // A registry that answers as it is told to, for the tests of several modules.
    .target(
      name: "TestRegistry", dependencies: ["Posix", "CLinux"], path: "Tests/TestRegistry",
      swiftSettings: settings),
    .testTarget(
      name: "RegistryTests", dependencies: ["Registry", "JSON", "TestRegistry", "TestSupport", "Posix"],
      swiftSettings: settings),
    .testTarget(
      name: "BlobStoreTests", dependencies: ["BlobStore", "Registry", "TestSupport", "Posix", "CLinux", "ZFile"],
      swiftSettings: settings),
    .testTarget(name: "RingTests", dependencies: ["Ring", "Ublk", "Posix"], swiftSettings: settings),
    .testTarget(
      name: "EngineTests",
      dependencies: [
        "Device", "UpperLayer", "BlobStore", "Image", "LSMT", "ZFile", "Trace", "TestRegistry", "TestSupport", "Posix",
        "CLinux",
      ],
      swiftSettings: settings),
    .testTarget(
      name: "HostTests",
      dependencies: ["Host", "Device", "Image", "TestSupport", "Trace", "Ublk", "Posix", "CLinux"],
      swiftSettings: settings),
    .testTarget(
      name: "DeviceTests",
      dependencies: [
        "TestRegistry", "TestSupport", "Trace", "ZFile", "Posix", "CLinux",
        .product(name: "Crypto", package: "swift-crypto"),
      ],
      swiftSettings: settings),
  ],
  swiftLanguageModes: [.v6]
)

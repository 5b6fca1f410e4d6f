// swift-tools-version: 6.2
import PackageDescription

/// Every room of the house speaks the same Swift: version 6, warnings are errors.
let house: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .treatAllWarnings(as: .error),
]

/// The data plane is cut into modules for people, not for the compiler: what is generic or small in
/// `Bytes` is compiled into its callers. Its buffers guard themselves, so that the run-time checks of
/// exclusive access, a quarter of a scan's time, are left out.
let dataPlane: [SwiftSetting] =
    house + [
        .unsafeFlags(
            ["-cross-module-optimization", "-enforce-exclusivity=unchecked"],
            .when(configuration: .release))
    ]

/// Targets by floor: a target depends on lower floors only.
let package = Package(
    name: "ydbfs",
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
        .package(url: "https://github.com/apple/swift-crypto", exact: "4.5.2"),
    ],
    targets: [
        // Floor 0
        .systemLibrary(name: "CFuse", pkgConfig: "fuse3", providers: [.apt(["libfuse3-dev"])]),
        .systemLibrary(name: "CLinux"),
        .systemLibrary(name: "CMalloc"),
        .systemLibrary(
            name: "CSQLite", pkgConfig: "sqlite3", providers: [.apt(["libsqlite3-dev"])]),
        .systemLibrary(
            name: "CXXHash", pkgConfig: "libxxhash", providers: [.apt(["libxxhash-dev"])]),
        .systemLibrary(
            name: "CDeflate", pkgConfig: "libdeflate", providers: [.apt(["libdeflate-dev"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
        .target(
            name: "Bytes", dependencies: ["CDeflate", "CMalloc", "CXXHash", "CZlib", "CZstd"],
            swiftSettings: dataPlane),
        // Floor 1
        .target(name: "Tables", dependencies: ["Bytes"], swiftSettings: dataPlane),
        // Floor 2
        .target(
            name: "Repository",
            dependencies: [
                "Bytes", "Tables", "CLinux", .product(name: "Crypto", package: "swift-crypto"),
            ],
            swiftSettings: house),
        .target(
            name: "SQLiteSource",
            dependencies: ["Bytes", "Tables", "CLinux", "CSQLite"], swiftSettings: dataPlane),
        .target(
            name: "DumpSource",
            dependencies: [
                "Bytes", "Tables", .product(name: "Crypto", package: "swift-crypto"),
            ],
            swiftSettings: dataPlane),
        // Floor 3
        .target(
            name: "Engine",
            dependencies: ["Bytes", "Tables", "Repository"], swiftSettings: house),
        // Floor 4
        .target(
            name: "Volume",
            dependencies: [
                "Bytes", "Tables", "Repository", "Engine",
                .product(name: "Crypto", package: "swift-crypto"),
            ], swiftSettings: house),
        .target(name: "Fuse", dependencies: ["Bytes", "CFuse", "Volume"], swiftSettings: house),
        // Floor 5
        .executableTarget(
            name: "ydbfs",
            dependencies: [
                "Bytes", "Tables", "Repository", "SQLiteSource", "DumpSource", "Engine", "Volume",
                "Fuse",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Crypto", package: "swift-crypto"),
            ],
            swiftSettings: house),
        // Tests
        .target(
            name: "TestSupport", dependencies: ["Bytes", "Repository", "Tables"],
            path: "Tests/TestSupport", swiftSettings: house),
        .executableTarget(
            name: "YearSimulation",
            dependencies: [
                "TestSupport", "Bytes", "CSQLite", "Engine", "Repository", "SQLiteSource", "Tables",
            ],
            path: "Tests/Simulation", exclude: ["run", "picture.py", "year.svg"],
            swiftSettings: house),
        .testTarget(
            name: "CommandLineTests",
            dependencies: ["Bytes", "Engine", "Repository", "Volume", "ydbfs"],
            exclude: ["copies.py", "history.py", "undump.py"],
            swiftSettings: house),
        .testTarget(
            name: "DumpSourceTests",
            dependencies: [
                "TestSupport", "Bytes", "DumpSource", "Engine", "Repository", "Tables",
            ],
            exclude: ["dump.py"], swiftSettings: house),
        .executableTarget(
            name: "FuseFixture", dependencies: ["Bytes", "Fuse", "Volume"],
            path: "Tests/FuseFixture", swiftSettings: house),
        .testTarget(
            name: "FuseTests",
            dependencies: ["TestSupport", "Bytes", "Fuse", "FuseFixture", "Volume"],
            swiftSettings: house),
        .testTarget(
            name: "RepositoryTests",
            dependencies: [
                "TestSupport",
                "Bytes", "Repository", "Tables", .product(name: "Crypto", package: "swift-crypto"),
            ],
            swiftSettings: house),
        .testTarget(
            name: "SQLiteSourceTests",
            dependencies: ["TestSupport", "Bytes", "SQLiteSource", "Tables"],
            exclude: ["changer.py"], swiftSettings: house),
        .testTarget(
            name: "StatementTests", dependencies: ["TestSupport", "Bytes", "Engine", "Tables"],
            swiftSettings: house),
        .testTarget(
            name: "TablesTests", dependencies: ["TestSupport", "Bytes", "Tables"],
            swiftSettings: house),
        .testTarget(
            name: "VolumeTests",
            dependencies: [
                "TestSupport",
                "Bytes", "Engine", "Fuse", "Repository", "SQLiteSource", "Tables", "Volume",
                "ydbfs",
                .product(name: "Crypto", package: "swift-crypto"),
            ],
            exclude: ["writer.py"], swiftSettings: house),
    ]
)

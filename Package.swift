// swift-tools-version: 6.1

import PackageDescription

// Imports point one way: CLibpq → Postgres → Millrace → MillraceAgent, MillraceEvents → MillraceCLI.
let package = Package(
    name: "millrace",
    platforms: [.macOS(.v15)],
    products: [
        .library(name: "Postgres", targets: ["Postgres"]),
        .library(name: "Millrace", targets: ["Millrace"]),
        .library(name: "MillraceAgent", targets: ["MillraceAgent"]),
        .library(name: "MillraceEvents", targets: ["MillraceEvents"]),
        .executable(name: "millrace", targets: ["MillraceCLI"]),
    ],
    dependencies: [
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.3.0"),
        .package(url: "https://github.com/apple/swift-configuration", from: "1.0.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.6.3"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.7.0"),
        .package(url: "https://github.com/apple/swift-system", from: "1.5.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.17.0"),
        .package(url: "https://github.com/hummingbird-project/swift-mustache", from: "2.1.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.0.0"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.30.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.8.0"),
        .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.0"),
    ],
    targets: [
        .systemLibrary(name: "CLibcrypto", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CLibpq", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .target(
            name: "Postgres",
            dependencies: [
                "CLibpq",
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Metrics", package: "swift-metrics"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ]
        ),
        .target(
            name: "Millrace",
            dependencies: [
                "CLibcrypto",
                "CZlib",
                "Postgres",
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "HeapModule", package: "swift-collections"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Metrics", package: "swift-metrics"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "Subprocess", package: "swift-subprocess"),
                .product(name: "SystemPackage", package: "swift-system"),
                .product(name: "Yams", package: "Yams"),
            ],
            resources: [.embedInCode("Resources/definition.schema.json")]
        ),
        .target(
            name: "MillraceAgent",
            dependencies: [
                "Millrace",
                "Postgres",
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "Collections", package: "swift-collections"),
                .product(name: "Configuration", package: "swift-configuration"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Metrics", package: "swift-metrics"),
                .product(name: "Mustache", package: "swift-mustache"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "Subprocess", package: "swift-subprocess"),
                .product(name: "SystemPackage", package: "swift-system"),
            ]
        ),
        .target(
            name: "MillraceEvents",
            dependencies: [
                "CZlib",
                "Millrace",
                "Postgres",
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "Configuration", package: "swift-configuration"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Metrics", package: "swift-metrics"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "SystemPackage", package: "swift-system"),
            ]
        ),
        .executableTarget(
            name: "MillraceCLI",
            dependencies: [
                "Millrace",
                "MillraceAgent",
                "MillraceEvents",
                "Postgres",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Collections", package: "swift-collections"),
                .product(name: "Configuration", package: "swift-configuration"),
                .product(name: "Histogram", package: "hdrhistogram-swift"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "Subprocess", package: "swift-subprocess"),
                .product(name: "SystemPackage", package: "swift-system"),
            ]
        ),
        .executableTarget(
            name: "DefinitionsExample",
            dependencies: ["Millrace", "MillraceAgent", "Postgres"],
            path: "examples/definitions"
        ),
        .executableTarget(
            name: "GreeterExample",
            dependencies: ["MillraceAgent", "Postgres"],
            path: "examples/greeter",
            exclude: ["greeter.yaml"]
        ),
        .target(
            name: "MillraceTestSupport",
            dependencies: [
                "Postgres",
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Subprocess", package: "swift-subprocess"),
                .product(name: "SystemPackage", package: "swift-system"),
            ],
            path: "Tests/TestSupport"
        ),
        .testTarget(name: "PostgresTests", dependencies: ["Postgres", "MillraceTestSupport"]),
        .testTarget(
            name: "MillraceTests",
            dependencies: ["DefinitionsExample", "Millrace", "MillraceTestSupport"],
            exclude: ["Fixtures"]
        ),
        .testTarget(
            name: "AgentTests",
            dependencies: [
                "GreeterExample",
                "MillraceAgent",
                "MillraceTestSupport",
                .product(name: "Configuration", package: "swift-configuration"),
                .product(name: "Hummingbird", package: "hummingbird"),
            ]
        ),
        .executableTarget(
            name: "EventReceiver",
            dependencies: [
                "Millrace",
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "SystemPackage", package: "swift-system"),
            ],
            path: "Tests/EventReceiver"
        ),
        .testTarget(
            name: "EventTests",
            dependencies: [
                "EventReceiver",
                "Millrace",
                "MillraceAgent",
                "MillraceCLI",
                "MillraceEvents",
                "MillraceTestSupport",
                .product(name: "Hummingbird", package: "hummingbird"),
            ]
        ),
        .executableTarget(
            name: "RandomAgent",
            dependencies: [
                "Millrace",
                "MillraceAgent",
                "MillraceTestSupport",
                "Postgres",
                .product(name: "Logging", package: "swift-log"),
            ],
            path: "Tests/RandomAgent"
        ),
        .testTarget(
            name: "RandomTests",
            dependencies: ["Millrace", "MillraceTestSupport", "Postgres", "RandomAgent"]
        ),
        .testTarget(name: "ModelTests", dependencies: ["Postgres", "MillraceTestSupport"]),
        .testTarget(name: "CLITests", dependencies: ["MillraceCLI", "MillraceTestSupport"]),
        .testTarget(name: "IntegrationTests", dependencies: ["MillraceCLI", "Postgres", "MillraceTestSupport"]),
    ],
    swiftLanguageModes: [.v6]
)

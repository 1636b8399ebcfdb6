// swift-tools-version: 6.2
import PackageDescription

/// Where the set-up (`make setup`) puts libtorch. Only products that are run need to find it there.
let libraries = Context.packageDirectory + "/.deps/libtorch/lib"
let runPath: [LinkerSetting] = [.unsafeFlags(["-Xlinker", "-rpath", "-Xlinker", libraries])]

/// For a program that is installed elsewhere, `scripts/package` gives the stubs of CMedia's functions here: the program
/// finds its libraries beside it, and FFmpeg's when it starts.
let stubs = Context.environment["SWAN_MEDIA_STUBS"]
let packagedRunPath = "$ORIGIN:$ORIGIN/libtorch/lib"
let ffmpeg = ["avformat", "avcodec", "swscale", "swresample", "avutil"]

let package = Package(
    name: "swan",
    products: [
        .library(name: "Torch", targets: ["Torch", "TorchNN", "SwanSystem"]),
        .library(
            name: "Swan",
            targets: [
                "Torch", "TorchNN", "SwanSystem", "SwanText", "SwanMedia", "SwanSchedulers",
                "SwanModels", "SwanCheckpoints", "SwanPipelines", "SwanThreads",
            ]
        ),
        .executable(name: "swan", targets: ["swan"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(
            url: "https://github.com/hummingbird-project/hummingbird",
            from: "2.28.1",
            traits: []
        ),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
        .package(url: "https://github.com/apple/swift-nio-extras", from: "1.35.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-certificates", from: "1.21.1"),
        .package(url: "https://github.com/apple/swift-asn1", from: "1.7.4"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
        .package(
            url: "https://github.com/apple/swift-configuration",
            from: "1.4.0",
            traits: ["YAML"]
        ),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
    ],
    targets: [
        .systemLibrary(name: "CLibTorch", pkgConfig: "swan-libtorch"),
        .target(
            name: "CTorch",
            dependencies: ["CLibTorch"],
            // c10d's headers include some of Gloo's, which libtorch does not ship.
            cxxSettings: [.headerSearchPath("gloo-declarations")]
        ),
        .target(name: "CSwanSystem"),
        .target(name: "SwanSystem", dependencies: ["CSwanSystem"]),
        .target(name: "CStart"),
        .target(name: "Torch", dependencies: ["CTorch", "SwanSystem"]),
        .target(name: "TorchNN", dependencies: ["Torch", "SwanSystem"]),
        .target(
            name: "CSentencePiece",
            linkerSettings: [
                .linkedLibrary("sentencepiece"), .linkedLibrary("sentencepiece_train"),
            ]
        ),
        .target(name: "SwanText", dependencies: ["CSentencePiece", "SwanSystem"]),
        .target(
            name: "CMedia",
            dependencies: ["CSwanSystem"],
            exclude: stubs == nil ? ["packaged"] : [],
            sources: stubs == nil ? nil : ["packaged"],
            linkerSettings: stubs == nil ? ffmpeg.map { .linkedLibrary($0) } : []
        ),
        .systemLibrary(name: "CTurboJPEG", pkgConfig: "libturbojpeg"),
        .target(name: "SwanMedia", dependencies: ["CMedia", "CTurboJPEG", "SwanSystem"]),
        .target(name: "SwanSchedulers", dependencies: ["Torch", "SwanSystem"]),
        .target(name: "SwanModels", dependencies: ["Torch", "TorchNN", "SwanSystem"]),
        // Without libtorch, so that ThreadSanitizer sees all of it: Tests/threads builds it alone.
        .target(name: "SwanThreads", dependencies: ["SwanSystem"]),
        .target(name: "SwanStore", dependencies: ["SwanSystem"]),
        .target(
            name: "SwanHub",
            dependencies: [
                "SwanSystem", "SwanStore",
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOFoundationCompat", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
            ]
        ),
        .target(
            name: "SwanCheckpoints",
            dependencies: [
                "Torch", "TorchNN", "SwanText", "SwanMedia", "SwanSchedulers", "SwanModels",
                "SwanStore", "SwanSystem",
                .product(name: "Yams", package: "Yams"),
            ],
            resources: [.copy("Resources/tiny")]
        ),
        .target(
            name: "SwanPipelines",
            dependencies: [
                "Torch", "TorchNN", "SwanText", "SwanMedia", "SwanSchedulers", "SwanModels",
                "SwanCheckpoints", "SwanThreads", "SwanDistributed", "SwanSystem",
                .product(name: "Logging", package: "swift-log"),
            ]
        ),
        .target(
            name: "SwanDistributed",
            dependencies: ["Torch", "TorchNN", "SwanModels", "SwanSystem", "SwanThreads"]
        ),
        .target(
            name: "SwanTraining",
            dependencies: [
                "Torch", "TorchNN", "SwanSystem", "SwanThreads", "SwanMedia", "SwanDistributed",
            ]
        ),
        .systemLibrary(name: "CLMDB", pkgConfig: "lmdb"),
        .target(
            name: "SwanDatasets",
            dependencies: [
                "CLMDB", "Torch", "SwanSystem", "SwanCheckpoints", "SwanPipelines",
            ]
        ),
        .target(
            name: "SwanTiny",
            dependencies: [
                "Torch", "TorchNN", "SwanSystem", "SwanThreads", "SwanText", "SwanMedia",
                "SwanModels", "SwanCheckpoints", "SwanTraining", "SwanDistributed",
                .product(name: "Yams", package: "Yams"),
            ]
        ),
        .target(
            name: "SwanDistillation",
            dependencies: [
                "Torch", "TorchNN", "SwanSystem", "SwanThreads", "SwanText", "SwanSchedulers",
                "SwanModels", "SwanCheckpoints", "SwanDatasets", "SwanTraining", "SwanDistributed",
                .product(name: "Yams", package: "Yams"),
            ]
        ),
        .target(
            name: "SwanFineTuning",
            dependencies: [
                "Torch", "TorchNN", "SwanSystem", "SwanThreads", "SwanMedia", "SwanSchedulers",
                "SwanModels", "SwanCheckpoints", "SwanPipelines", "SwanDatasets", "SwanTraining",
                "SwanDistributed", "SwanDistillation",
                .product(name: "Yams", package: "Yams"),
            ]
        ),
        .target(
            name: "SwanEvaluation",
            dependencies: [
                "Torch", "TorchNN", "SwanSystem", "SwanMedia", "SwanModels", "SwanCheckpoints",
                "SwanPipelines", "SwanDistributed", "SwanTraining", "SwanTiny",
                .product(name: "Logging", package: "swift-log"),
            ]
        ),
        // Without libtorch and without models.
        .target(
            name: "SwanHTTP",
            dependencies: [
                "SwanSystem",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOWebSocket", package: "swift-nio"),
                .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
                .product(name: "NIOHTTPTypesHTTP1", package: "swift-nio-extras"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "SwiftASN1", package: "swift-asn1"),
                .product(name: "X509", package: "swift-certificates"),
            ]
        ),
        .target(
            name: "SwanServer",
            dependencies: [
                "Torch", "SwanSystem", "SwanText", "SwanMedia", "SwanCheckpoints", "SwanPipelines",
                "SwanThreads", "SwanHTTP",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Metrics", package: "swift-metrics"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            resources: [.copy("Resources/web"), .copy("Resources/openapi.json")]
        ),
        // Drives `swan serve` from outside; no library product carries it.
        .target(
            name: "SwanServeBench",
            dependencies: [
                "SwanSystem", "SwanMedia", "SwanCheckpoints", "SwanEvaluation", "SwanServer",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOWebSocket", package: "swift-nio"),
            ]
        ),
        .executableTarget(
            name: "swan",
            dependencies: [
                "Torch", "SwanSystem", "SwanThreads", "SwanMedia", "SwanSchedulers", "SwanModels",
                "SwanCheckpoints", "SwanPipelines", "SwanTraining", "SwanDistillation", "SwanTiny",
                "SwanFineTuning",
                "SwanEvaluation", "SwanDatasets", "SwanDistributed", "SwanHTTP", "SwanServer",
                "SwanServeBench", "SwanStore", "SwanHub",
                "CStart",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Configuration", package: "swift-configuration"),
                .product(name: "Logging", package: "swift-log"),
            ],
            linkerSettings: stubs.map {
                [.unsafeFlags(["-Xlinker", "-rpath", "-Xlinker", packagedRunPath, $0])]
            } ?? runPath
        ),
        .target(
            name: "GoldenSupport",
            dependencies: [
                "Torch", "SwanSystem",
            ],
            path: "Tests/GoldenSupport"
        ),
        .target(
            name: "ModelSupport",
            dependencies: [
                "Torch", "TorchNN", "SwanSystem", "SwanText", "SwanModels", "SwanCheckpoints",
            ],
            path: "Tests/ModelSupport"
        ),
        .executableTarget(
            name: "fuzz-seeds",
            dependencies: ["ModelSupport", "SwanMedia"],
            path: "Tests/fuzz/seeds",
            linkerSettings: runPath
        ),
        .executableTarget(
            name: "http-probe",
            dependencies: [
                "SwanHTTP", "SwanSystem",
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
            ],
            path: "Tests/serve/probe"
        ),
        .target(
            name: "HubSupport",
            dependencies: [
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            path: "Tests/HubSupport"
        ),
        .testTarget(
            name: "SwanHubTests",
            dependencies: ["SwanHub", "SwanStore", "SwanSystem", "HubSupport", "GoldenSupport"],
            linkerSettings: runPath
        ),
        .target(
            name: "SoundSupport",
            path: "Tests/SoundSupport",
            linkerSettings: [
                .linkedLibrary("avformat"), .linkedLibrary("avcodec"),
                .linkedLibrary("swresample"), .linkedLibrary("avutil"),
            ]
        ),
        .testTarget(
            name: "TorchTests",
            dependencies: [
                "CTorch", "Torch", "SwanSystem", "GoldenSupport",
            ],
            linkerSettings: runPath
        ),
        .testTarget(
            name: "TorchNNTests",
            dependencies: [
                "Torch", "TorchNN", "SwanSystem", "GoldenSupport",
            ],
            linkerSettings: runPath
        ),
        .target(
            name: "RankSupport",
            dependencies: ["Torch", "SwanDistributed", "SwanSystem"],
            path: "Tests/distributed/support"
        ),
        .executableTarget(
            name: "ranks-probe",
            dependencies: [
                "Torch", "TorchNN", "SwanModels", "SwanDistributed", "SwanSystem", "RankSupport",
            ],
            path: "Tests/distributed/probe",
            linkerSettings: runPath
        ),
        .executableTarget(
            name: "generation-probe",
            dependencies: [
                "Torch", "TorchNN", "SwanMedia", "SwanModels", "SwanCheckpoints", "SwanPipelines",
                "SwanThreads", "SwanDistributed", "SwanSystem", "ModelSupport", "RankSupport",
            ],
            path: "Tests/distributed/generation",
            linkerSettings: runPath
        ),
        .executableTarget(
            name: "training-probe",
            dependencies: [
                "Torch", "TorchNN", "SwanModels", "SwanDistributed", "SwanTraining", "SwanTiny",
                "SwanThreads", "SwanSystem", "ModelSupport", "RankSupport",
            ],
            path: "Tests/distributed/training",
            linkerSettings: runPath
        ),
        .testTarget(
            name: "SwanDistributedTests",
            dependencies: ["Torch", "SwanDistributed", "SwanSystem", "SwanThreads"],
            linkerSettings: runPath
        ),
        .testTarget(
            name: "SwanDatasetsTests",
            dependencies: [
                "Torch", "SwanSystem", "SwanCheckpoints", "SwanMedia", "SwanModels",
                "SwanPipelines",
                "SwanDatasets",
                "GoldenSupport", "ModelSupport",
            ],
            linkerSettings: runPath
        ),
        .testTarget(name: "SwanThreadsTests", dependencies: ["SwanThreads"]),
        .testTarget(
            name: "SwanSystemTests",
            dependencies: ["SwanSystem", "GoldenSupport"],
            linkerSettings: runPath
        ),
        .testTarget(
            name: "SwanServerTests",
            dependencies: [
                "Torch", "SwanSystem", "SwanMedia", "SwanCheckpoints", "SwanPipelines", "SwanHTTP",
                "SwanServer",
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Metrics", package: "swift-metrics"),
            ],
            linkerSettings: runPath
        ),
        .testTarget(
            name: "SwanServeBenchTests",
            dependencies: ["SwanMedia", "SwanEvaluation", "SwanServeBench", "GoldenSupport"],
            linkerSettings: runPath
        ),
        .testTarget(
            name: "SwanHTTPTests",
            dependencies: [
                "SwanHTTP", "SwanSystem",
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOWebSocket", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "SwiftASN1", package: "swift-asn1"),
                .product(name: "X509", package: "swift-certificates"),
            ]
        ),
        .testTarget(
            name: "SwanTextTests",
            dependencies: [
                "SwanSystem", "SwanText",
            ]
        ),
        .testTarget(
            name: "SwanMediaTests",
            dependencies: [
                "SwanSystem", "SwanMedia", "SoundSupport",
            ]
        ),
        .testTarget(
            name: "SwanSchedulersTests",
            dependencies: [
                "Torch", "SwanSystem", "SwanSchedulers", "GoldenSupport",
            ],
            linkerSettings: runPath
        ),
        .testTarget(
            name: "SwanModelsTests",
            dependencies: [
                "Torch", "TorchNN", "SwanSystem", "SwanModels", "SwanCheckpoints", "GoldenSupport",
            ],
            linkerSettings: runPath
        ),
        .testTarget(
            name: "SwanCheckpointsTests",
            dependencies: [
                "Torch", "TorchNN", "SwanSystem", "SwanText", "SwanMedia", "SwanModels",
                "SwanCheckpoints", "SwanPipelines", "GoldenSupport", "ModelSupport",
                .product(name: "Yams", package: "Yams"),
            ],
            linkerSettings: runPath
        ),
        .testTarget(
            name: "SwanPipelinesTests",
            dependencies: [
                "Torch", "TorchNN", "SwanSystem", "SwanThreads", "SwanMedia", "SwanSchedulers",
                "SwanModels", "SwanCheckpoints", "SwanPipelines", "SwanDistributed",
                "GoldenSupport", "ModelSupport",
            ],
            linkerSettings: runPath
        ),
        .testTarget(
            name: "SwanEvaluationTests",
            dependencies: [
                "Torch", "SwanSystem", "SwanText", "SwanMedia", "SwanModels", "SwanPipelines",
                "SwanTraining", "SwanTiny", "SwanEvaluation", "GoldenSupport", "ModelSupport",
            ],
            linkerSettings: runPath
        ),
        .testTarget(
            name: "SwanTrainingTests",
            dependencies: [
                "Torch", "TorchNN", "SwanSystem", "SwanThreads", "SwanText", "SwanMedia",
                "SwanModels", "SwanCheckpoints", "SwanTraining", "SwanTiny", "GoldenSupport",
                "ModelSupport",
            ],
            linkerSettings: runPath
        ),
        .testTarget(
            name: "SwanDistillationTests",
            dependencies: [
                "Torch", "TorchNN", "SwanSystem", "SwanSchedulers", "SwanModels", "SwanCheckpoints",
                "SwanThreads", "SwanTraining", "SwanPipelines", "SwanDistillation", "GoldenSupport",
                "ModelSupport",
            ],
            linkerSettings: runPath
        ),
        .testTarget(
            name: "SwanFineTuningTests",
            dependencies: [
                "Torch", "TorchNN", "SwanSystem", "SwanThreads", "SwanMedia", "SwanModels",
                "SwanCheckpoints", "SwanPipelines", "SwanTraining",
                "SwanFineTuning", "GoldenSupport", "ModelSupport",
            ],
            linkerSettings: runPath
        ),
        .testTarget(
            name: "SwanTinyTests",
            dependencies: [
                "Torch", "TorchNN", "SwanSystem", "SwanThreads", "SwanText", "SwanMedia",
                "SwanModels", "SwanCheckpoints", "SwanTraining", "SwanTiny", "GoldenSupport",
                "ModelSupport",
            ],
            linkerSettings: runPath
        ),
        .testTarget(
            name: "swanTests",
            dependencies: [
                "Torch", "SwanMedia", "SwanPipelines", "SwanServeBench", "swan", "GoldenSupport",
                "ModelSupport", "HubSupport",
                "SoundSupport",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            linkerSettings: runPath
        ),
    ],
    swiftLanguageModes: [.v6],
    cLanguageStandard: .gnu17,
    cxxLanguageStandard: .cxx20
)

for target in package.targets where target.type != .system {
    target.swiftSettings = [
        .treatAllWarnings(as: .error), .enableUpcomingFeature("MemberImportVisibility"),
        .enableUpcomingFeature("InternalImportsByDefault"),
    ]
}

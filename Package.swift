// swift-tools-version: 6.2
import PackageDescription

/// Where the set-up (`make setup`) puts libtorch. Only products that are run need to find it there.
let libraries = Context.packageDirectory + "/.deps/libtorch/lib"
let runPath: [LinkerSetting] = [.unsafeFlags(["-Xlinker", "-rpath", "-Xlinker", libraries])]

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
    ],
    targets: [
        .systemLibrary(name: "CLibTorch", pkgConfig: "swan-libtorch"),
        .target(name: "CTorch", dependencies: ["CLibTorch"]),
        .target(name: "CSystem"),
        .target(name: "SwanSystem", dependencies: ["CSystem"]),
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
            dependencies: ["CSystem"],
            linkerSettings: [
                .linkedLibrary("avformat"), .linkedLibrary("avcodec"), .linkedLibrary("swscale"),
                .linkedLibrary("swresample"), .linkedLibrary("avutil"),
            ]
        ),
        .systemLibrary(name: "CTurboJPEG", pkgConfig: "libturbojpeg"),
        .target(name: "SwanMedia", dependencies: ["CMedia", "CTurboJPEG", "SwanSystem"]),
        .target(name: "SwanSchedulers", dependencies: ["Torch", "SwanSystem"]),
        .target(name: "SwanModels", dependencies: ["Torch", "TorchNN", "SwanSystem"]),
        // Without libtorch, so that ThreadSanitizer sees all of it: Tests/threads builds it alone.
        .target(name: "SwanThreads", dependencies: ["SwanSystem"]),
        .target(
            name: "SwanCheckpoints",
            dependencies: [
                "Torch", "TorchNN", "SwanText", "SwanMedia", "SwanSchedulers", "SwanModels",
                "SwanSystem",
                .product(name: "Yams", package: "Yams"),
            ],
            resources: [.copy("Resources/tiny")]
        ),
        .target(
            name: "SwanPipelines",
            dependencies: [
                "Torch", "TorchNN", "SwanText", "SwanMedia", "SwanSchedulers", "SwanModels",
                "SwanCheckpoints", "SwanThreads", "SwanSystem",
                .product(name: "Logging", package: "swift-log"),
            ]
        ),
        .target(
            name: "SwanTraining",
            dependencies: [
                "Torch", "TorchNN", "SwanSystem", "SwanThreads", "SwanMedia",
            ]
        ),
        .target(
            name: "SwanTiny",
            dependencies: [
                "Torch", "TorchNN", "SwanSystem", "SwanThreads", "SwanText", "SwanMedia",
                "SwanModels", "SwanCheckpoints", "SwanTraining",
                .product(name: "Yams", package: "Yams"),
            ]
        ),
        .target(
            name: "SwanEvaluation",
            dependencies: [
                "Torch", "TorchNN", "SwanSystem", "SwanMedia", "SwanModels", "SwanCheckpoints",
                "SwanPipelines", "SwanTraining", "SwanTiny",
                .product(name: "Logging", package: "swift-log"),
            ]
        ),
        .executableTarget(
            name: "swan",
            dependencies: [
                "Torch", "SwanSystem", "SwanThreads", "SwanMedia", "SwanSchedulers", "SwanModels",
                "SwanCheckpoints", "SwanPipelines", "SwanTraining", "SwanTiny", "SwanEvaluation",
                "CStart",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
            ],
            linkerSettings: runPath
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
        .testTarget(name: "SwanThreadsTests", dependencies: ["SwanThreads"]),
        .testTarget(
            name: "SwanSystemTests",
            dependencies: ["SwanSystem", "GoldenSupport"],
            linkerSettings: runPath
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
                "Torch", "TorchNN", "SwanSystem", "SwanMedia", "SwanSchedulers", "SwanModels",
                "SwanCheckpoints", "SwanPipelines", "GoldenSupport", "ModelSupport",
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
            name: "SwanTinyTests",
            dependencies: [
                "Torch", "TorchNN", "SwanSystem", "SwanText", "SwanMedia", "SwanModels",
                "SwanCheckpoints", "SwanTraining", "SwanTiny", "GoldenSupport", "ModelSupport",
            ],
            linkerSettings: runPath
        ),
        .testTarget(
            name: "swanTests",
            dependencies: [
                "Torch", "SwanMedia", "SwanPipelines", "swan", "GoldenSupport", "ModelSupport",
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

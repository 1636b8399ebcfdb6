// swift-tools-version: 6.2
import PackageDescription

/// The code shared by the threads of a stream, without libtorch: `make tsan` builds it with
/// ThreadSanitizer, which cannot see into libraries built without it.
let package = Package(
    name: "threads",
    targets: [
        .target(name: "CSwanSystem"),
        .target(name: "SwanSystem", dependencies: ["CSwanSystem"]),
        .target(name: "SwanThreads", dependencies: ["SwanSystem"]),
        .testTarget(name: "SwanThreadsTests", dependencies: ["SwanThreads"]),
    ],
    swiftLanguageModes: [.v6]
)

// As in the package itself.
for target in package.targets {
    target.swiftSettings = [
        .treatAllWarnings(as: .error), .enableUpcomingFeature("MemberImportVisibility"),
        .enableUpcomingFeature("InternalImportsByDefault"),
    ]
}

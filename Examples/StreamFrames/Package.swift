// swift-tools-version: 6.2
import PackageDescription

// Outside this repository: .package(url: "https://…/swan", from: "…")
let package = Package(
    name: "StreamFrames",
    dependencies: [.package(name: "swan", path: "../..")],
    targets: [
        .executableTarget(
            name: "StreamFrames",
            dependencies: [.product(name: "Swan", package: "swan")]
        )
    ]
)

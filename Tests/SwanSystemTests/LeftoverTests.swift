import Foundation
import GoldenSupport
import Testing

@testable import SwanSystem

/// Files left behind by killed processes, and files with similar names.
@Suite struct LeftoverTests {
    /// A process ID above the system's maximum, so no process has it.
    static let dead = "4194305"

    @Test(arguments: [
        ".out.swan-partial-\(dead).mp4", ".out.swan-partial-\(dead)-3.mp4",
        ".out.swan-partial-\(dead)", ".a.swan-partial-\(dead).safetensors",
        ".a.swan-partial-\(dead)-1.safetensors", ".a.swan-partial-4194304999.safetensors",
    ])
    func removesFilesOfDeadProcesses(_ name: String) throws {
        let folder = try TemporaryDirectory()
        _ = try folder.file(name, [1])
        #expect(Leftovers.remove(from: folder.url.path) == [name])
        #expect(try folder.names == [])
    }

    @Test(arguments: [
        // Running processes: this one, and the first.
        ".out.swan-partial-\(getpid()).mp4", ".out.swan-partial-1.mp4",
        // Names that Swan does not use.
        "out.swan-partial-\(dead).mp4", ".swan-partial-\(dead)", ".out.swan-partial-.mp4",
        ".out.swan-partial-0\(dead).mp4", ".out.swan-partial-\(dead)x.mp4",
        ".out.swan-partial--\(dead).mp4", ".out.swan-partial-\(dead)-1-2.mp4",
        ".out.swan-partial-0.mp4", "video.mp4.\(dead).partial", ".a.swan-partial-x.safetensors",
        "a.swan-partial-\(dead).safetensors",
    ])
    func keepsOtherFiles(_ name: String) throws {
        let folder = try TemporaryDirectory()
        _ = try folder.file(name, [1])
        #expect(Leftovers.remove(from: folder.url.path) == [])
        #expect(try folder.names == [name])
    }

    /// The writing process may have another process ID, in another container or on another machine.
    @Test func keepsFilesBeingWritten() throws {
        let folder = try TemporaryDirectory()
        let path = try folder.file(".out.swan-partial-\(Self.dead).mp4", [1])
        let descriptor = open(path, O_WRONLY)
        PartialName.lock(descriptor)
        #expect(Leftovers.remove(from: folder.url.path) == [])
        close(descriptor)
        #expect(Leftovers.remove(from: folder.url.path).count == 1)
    }

    @Test func keepsLinksAndPipes() throws {
        let folder = try TemporaryDirectory()
        let file = try folder.file("precious", [1])
        let name = ".out.swan-partial-\(Self.dead).mp4"
        #expect(symlink(file, folder.path(name)) == 0)
        #expect(mkfifo(folder.path("." + name), 0o600) == 0)
        #expect(Leftovers.remove(from: folder.url.path) == [])
        #expect(try folder.names.count == 3)
    }

    @Test func removesOnlyFoldersOfConversions() throws {
        let folder = try TemporaryDirectory()
        for (name, files) in [
            (".a.swan-partial-\(Self.dead)", ["model.safetensors", "config.json"]),
            (".b.swan-partial-\(Self.dead)", [".model.swan-partial-\(Self.dead).safetensors"]),
            (
                ".swan-bench.swan-partial-\(Self.dead)",
                ["in.mp4", ".out.swan-partial-\(Self.dead).mp4"]
            ),
            (".c.swan-partial-\(Self.dead)", ["model.safetensors", "thesis.tex"]),
        ] {
            try FileManager.default.createDirectory(
                atPath: folder.path(name),
                withIntermediateDirectories: false
            )
            for file in files { _ = try folder.file("\(name)/\(file)", [1]) }
        }
        #expect(Leftovers.remove(from: folder.url.path).count == 3)
        #expect(try folder.names == [".c.swan-partial-\(Self.dead)"])
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: folder.path(folder.names[0])).count
                == 2
        )
    }
}

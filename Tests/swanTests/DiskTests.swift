import Foundation
import GoldenSupport
import ModelSupport
import Testing

/// Full disks, limits on file sizes, and closed outputs.
///
/// A limit on file sizes (`ulimit -f`, in blocks of 512 bytes) stands in for a full disk.
@Suite struct DiskTests {
    private let folder: TemporaryDirectory
    private let fixture: Fixture

    init() throws {
        folder = try TemporaryDirectory()
        fixture = try Fixture.shared.get()
    }

    private func expect(
        _ code: Int32,
        _ words: String...,
        from script: String,
        leaving names: [String] = [],
        location: SourceLocation = #_sourceLocation
    ) throws {
        let script = script.replacing("MODEL", with: "'\(fixture.model)'")
            .replacing("CLIP", with: "'\(fixture.clip)'")
        let outcome = try Shell.run(script, in: folder.url.path)
        #expect(outcome.code == code, "\(outcome.messages)", sourceLocation: location)
        for word in words {
            #expect(
                outcome.messages.contains(word),
                "\(outcome.messages)",
                sourceLocation: location
            )
        }
        #expect(!outcome.messages.contains("cannot be created"), sourceLocation: location)
        #expect(try folder.names == names, "no partial files", sourceLocation: location)
    }

    /// The program reports the limit before it starts to work.
    @Test(arguments: ["out.mp4", "out.mkv", "out.y4m", "%05d.png"])
    func reportsTooLittleSpaceBeforeTheWork(_ output: String) throws {
        try expect(
            74,
            "cannot be written",
            "ulimit -f",
            from: "ulimit -f 8; swan stream CLIP --model MODEL --prompt a -o \(output)"
        )
    }

    /// The length of a piped video is unknown, so the limit is reached during the work.
    @Test func diskFillsUpDuringTheWork() throws {
        let clip = folder.path("in.y4m")
        try Fixture.write(clip, frames: 21)
        try expect(
            74,
            "out.y4m: cannot be written: File too large",
            from: "ulimit -f 2048; cat in.y4m | swan stream - --model MODEL --prompt a "
                + "--steps 1 --width 256 --height 256 -o out.y4m --progress none",
            leaving: ["in.y4m"]
        )
    }

    @Test func noSpaceForTheSummary() throws {
        try expect(
            74,
            "/dev/full: cannot be written: No space left on device",
            from: "swan stream CLIP --model MODEL --prompt a -o out.mp4 --json /dev/full "
                + "--progress none",
            leaving: ["out.mp4"]
        )
    }

    @Test(arguments: [
        "--help", "stream --help", "--version", "models verify MODEL", "models inspect MODEL",
        "models list", "models list --json",
        "stream CLIP --model MODEL --prompt a -o - --progress none",
        "stream CLIP --model MODEL --prompt a -o /dev/null.y4m/../full.y4m --json - --progress none",
    ])
    func standardOutputIsFullOrClosed(_ command: String) throws {
        let command = command.replacing("/dev/null.y4m/../", with: "")
        let left = command.contains("full.y4m") ? ["full.y4m"] : []
        try expect(
            74,
            "standard output: cannot be written: No space left",
            from: "swan \(command) > /dev/full",
            leaving: left
        )
        try expect(
            74,
            "standard output: cannot be written",
            from: "rm -f full.y4m; swan \(command) >&-",
            leaving: left
        )
    }

    /// Messages do not go to an output file that has the file descriptor of standard error.
    @Test func outputsDoNotReuseClosedDescriptors() throws {
        let script = "swan stream CLIP --model MODEL --prompt a"
        try expect(
            0,
            from: "\(script) -o a.y4m; \(script) -o b.y4m <&- >&- 2>&-; cmp a.y4m b.y4m",
            leaving: ["a.y4m", "b.y4m"]
        )
    }

    @Test(arguments: ["vae", "vae.safetensors"])
    func noSpaceForAConversion(_ destination: String) throws {
        try expect(
            74,
            "cannot be written",
            from: "ulimit -f 8; swan models convert MODEL/vae \(destination)"
        )
    }

    @Test func noSpaceForTraining() throws {
        _ = try folder.file("recipe.yaml", text: TinyTraining.recipe)
        try expect(
            74,
            "cannot be written",
            from: "ulimit -f 8; swan train recipe.yaml -o out --device cpu",
            leaving: ["recipe.yaml"]
        )
        let outcome = try Shell.run(
            "ulimit -f 500; swan train recipe.yaml -o out --device cpu",
            in: folder.url.path
        )
        #expect(outcome.code == 74, "\(outcome.messages)")
        #expect(outcome.messages.contains("cannot be written: File too large"))
    }

    @Test(.disabled(if: geteuid() == 0, "root can write anywhere"))
    func refusesAReadOnlyFolder() throws {
        #expect(mkdir(folder.path("locked"), 0o500) == 0)
        for output in ["locked/a.mp4", "locked/", "a.mp4 --json locked/a.json"] {
            let outcome = try Shell.run(
                "swan stream '\(fixture.clip)' --model '\(fixture.model)' --prompt a -o \(output)",
                in: folder.url.path
            )
            #expect(outcome.code == 73)
            #expect(outcome.messages.contains("cannot be created: Permission denied"))
        }
    }
}

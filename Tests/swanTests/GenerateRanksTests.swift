import Foundation
import GoldenSupport
import ModelSupport
import SwanMedia
import Testing

/// `swan launch -- generate`: one video by several processes.
@Suite(.serialized) struct GenerateRanksTests {
    private let folder: TemporaryDirectory
    private let fixture: GenerateFixture

    init() throws {
        folder = try TemporaryDirectory()
        fixture = try GenerateFixture.shared.get()
    }

    private func launch(
        _ ranks: Int,
        _ model: RandomCheckpoint.Model,
        _ arguments: [String]
    ) throws -> Program {
        let command = fixture.arguments(model, ["--prompt", "a cat"] + arguments)
        return try Program(["launch", "--nproc", "\(ranks)", "--"] + command)
    }

    private func pixels(_ name: String) throws -> [[UInt8]] {
        let reader = try VideoReader(path: folder.path(name))
        var frames: [[UInt8]] = []
        while let frame = try reader.nextFrame() { frames.append(frame.pixels) }
        return frames
    }

    /// The same frames, one file, and one summary, whatever the kind of model.
    @Test(
        arguments: [
            (RandomCheckpoint.Model.textToVideo, 2, []),
            (.textToVideo, 2, ["--guidance-parallel", "--no-batch-guidance"]),
            (.textOrImageToVideo, 2, ["--offload", "block", "--preview", "1"]),
            (.textToVideo, 3, ["--shard=full"]),
        ] as [(RandomCheckpoint.Model, Int, [String])]
    )
    func sameVideo(model: RandomCheckpoint.Model, ranks: Int, options: [String]) throws {
        var arguments = ["--dtype", "float32", "--size", "64x128"]
        if model != .textToVideo { arguments += ["--image", fixture.picture] }
        let alone =
            arguments + options.filter { !["--guidance-parallel", "--shard=full"].contains($0) }
        let one = try fixture.generate(
            model,
            ["--prompt", "a cat", "-o", folder.path("one.mkv")] + alone
        )
        #expect(one.code == 0, "\(one.messages)")
        let several = try launch(
            ranks,
            model,
            ["-o", folder.path("several.mkv"), "--json", "-"] + arguments + options
        ).end()
        #expect(several.code == 0, "\(several.messages)")
        let fields = try StreamTests.fields(several.output)
        #expect(fields["ranks"] as? Int == ranks)
        let (a, b) = (try pixels("one.mkv"), try pixels("several.mkv"))
        #expect(a.count == 5 && b.count == 5)
        for (a, b) in zip(a, b) {
            let different = zip(a, b).count { $0 != $1 }
            #expect(zip(a, b).allSatisfy { abs(Int($0) - Int($1)) <= 1 })
            #expect(different * 1_000 < a.count, "\(different) of \(a.count) values differ")
        }
        let previews =
            options.contains("--preview") ? ["one.preview.png", "several.preview.png"] : []
        #expect(try Set(folder.names) == Set(["one.mkv", "several.mkv"] + previews))
    }

    /// A signal to the launcher stops all ranks within a step; 1,000 steps would take minutes.
    @Test(arguments: [SIGINT, SIGTERM])
    func signalsStopAllRanks(_ signal: Int32) throws {
        let program = try launch(
            2,
            .textToVideo,
            ["--steps", "1000", "-o", folder.path("out.mp4"), "--progress", "json"]
        )
        program.wait(for: #""stage":"denoising""#)
        program.send(signal)
        let outcome = try program.end()
        #expect(outcome.code == 128 + signal, "\(outcome.messages)")
        #expect(try folder.names == [])
    }

    @Test func refusesImpossibleDivisions() throws {
        let out = folder.path("out.mkv")
        for option in [["--ring", "2"], ["--shard", "hybrid"]] {
            let alone = try fixture.generate(
                .textToVideo,
                ["--prompt", "a cat", "-o", out] + option
            )
            #expect(alone.code == 64)
            #expect(alone.messages.contains("swan launch --nproc"), "\(alone.messages)")
        }
        let outcome = try launch(2, .textToVideo, ["--ulysses", "3", "-o", out]).end()
        #expect(outcome.code == 64, "\(outcome.messages)")
        #expect(
            outcome.messages.contains("--ulysses 3 does not divide the 2 ranks"),
            "\(outcome.messages)"
        )
        let single = try launch(
            2,
            .textToVideo,
            ["--guidance-parallel", "--guidance", "1", "-o", out]
        ).end()
        #expect(single.code == 64, "\(single.messages)")
        #expect(single.messages.contains("guidance is off"), "\(single.messages)")
        let halves = ["--guidance-parallel", "--shard", "full", "-o", out]
        let lonely = try launch(2, .textToVideo, halves).end()
        #expect(lonely.code == 64, "\(lonely.messages)")
        #expect(lonely.messages.contains("no other to share weights with"), "\(lonely.messages)")
        #expect(try folder.names == [])
    }

    /// The exit code is that of the failure, not of the ranks that followed it.
    @Test func failuresHaveTheirExitCode() throws {
        let out = folder.path("out.mkv")
        let outcome = try launch(
            2,
            .imageToVideo,
            ["--image", folder.path("none.png"), "-o", out]
        ).end()
        #expect(outcome.code == 66, "\(outcome.messages)")
        #expect(outcome.messages.contains("none.png"), "\(outcome.messages)")
        #expect(try folder.names == [])
    }
}

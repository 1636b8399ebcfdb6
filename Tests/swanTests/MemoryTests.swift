import Foundation
import GoldenSupport
import ModelSupport
import Testing

/// With little address space, a command works or reports that memory is insufficient.
@Suite struct MemoryTests {
    /// In steps of 50 to 200 MB. A hang ends with exit code 124.
    @Test(arguments: [700, 800, 850, 900, 950, 1_000, 1_100, 1_300])
    func reportsInsufficientMemory(_ megabytes: Int) throws {
        let folder = try TemporaryDirectory()
        let fixture = try Fixture.shared.get()
        let checkpoint = try GenerateFixture.shared.get().path(.textToVideo)
        for command in [
            "stream '\(fixture.clip)' --prompt sepia --max-frames 5 -o out.mp4",
            "generate --model '\(checkpoint)' --prompt a --frames 5 --steps 1 --size 32x32 "
                + "--device cpu -o g.mp4",
            "models verify '\(fixture.model)'",
        ] {
            let outcome = try Shell.run(
                "ulimit -v \(megabytes * 1_000); OMP_NUM_THREADS=2 timeout 60 "
                    + "'\(Program.url.path)' \(command)",
                in: folder.url.path
            )
            #expect([0, 69].contains(outcome.code), "\(command): \(outcome.messages)")
            let isSaid = outcome.messages.contains("out of memory")
            #expect(outcome.code == 0 || isSaid, "\(outcome.messages)")
            for word in ["terminate", "libgomp", "Fatal", "Signal"] {
                #expect(!outcome.messages.contains(word), "\(outcome.messages)")
            }
            #expect(try folder.names.allSatisfy { !$0.contains("partial") })
        }
    }
}

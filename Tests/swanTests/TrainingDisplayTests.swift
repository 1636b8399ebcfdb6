import Foundation
import GoldenSupport
import ModelSupport
import Synchronization
import Testing

@testable import swan

/// What a training says while one waits.
@Suite struct TrainingDisplayTests {
    @Test(.timeLimit(.minutes(10))) func aLongPhaseIsNamedAgain() throws {
        let lines = Mutex<[String]>([])
        let display = TrainingDisplay(.plain, silence: .milliseconds(20)) { line in
            lines.withLock { $0.append(line) }
        }
        display.begin("reading the model")
        try display.start()
        while lines.withLock({ $0.count < 4 }) { usleep(1_000) }
        display.end()
        let found = lines.withLock { $0 }
        #expect(found[0] == "reading the model")
        #expect(found[1...].allSatisfy { $0.hasPrefix("reading the model, for 0:0") }, "\(found)")
    }

    @Test func aTrainingSaysWhatItBegins() throws {
        let folder = try TemporaryDirectory()
        let recipe = try folder.file("recipe.yaml", text: TinyTraining.recipe)
        let summary = folder.path("summary.json")
        let outcome = try Program.run(
            "train",
            recipe,
            "--output",
            folder.path("model"),
            "--progress",
            "json",
            "--json",
            summary
        )
        #expect(outcome.code == 0, "\(outcome.messages)")
        let events = try outcome.messages.split(separator: "\n")
            .map { try StreamTests.fields(Data($0.utf8)) }
        #expect(events.first?["phase"] as? String == "reading \(recipe)")
        let phases = events.compactMap { $0["phase"] as? String }
        for stage in ["vae", "text", "transformer"] {
            #expect(phases.contains { $0.hasPrefix("\(stage): steps from 1 of ") }, "\(phases)")
        }
        let fields = try StreamTests.fields(Data(contentsOf: URL(filePath: summary)))
        #expect(fields["stage"] as? String == "transformer")
        #expect(fields["output"] as? String == folder.path("model"))
    }
}

import Foundation
import GoldenSupport
import SwanMedia
import Testing
import Torch

@testable import SwanTiny
@testable import SwanTraining

@Suite("Stage records", .serialized)
struct StageRecordTests {
    private let recipe: Recipe
    private let clips: ClipMix
    /// The autoencoder's initial weights.
    private static let autoencoder = Result {
        let recipe = try TinyRecipe.make()
        let clips = try ClipMix(recipe.data, seed: recipe.seed)
        return try LinearCode.weights(recipe.vae.model, clips: clips, seed: recipe.seed)
    }

    init() throws {
        recipe = try TinyRecipe.make()
        clips = try ClipMix(recipe.data, seed: recipe.seed)
        ComputeBudget(threads: recipe.threads).apply()
    }

    private func transformer() throws -> StreamMethod {
        var method = try TinyRecipe.streamMethod(
            recipe,
            clips: clips,
            vae: Self.autoencoder.get()
        )
        method.samples = 1
        return method
    }

    @Test func averagesPointsOverTenSteps() throws {
        let folder = try TemporaryDirectory()
        let record = StageRecord("vae", in: folder.url, SampleOptions(clips: 0))
        try record.begin(after: 7)
        for step in 8...23 {
            // Each loss occurs only in every other step, as in a transformer's later steps.
            let losses = step.isMultiple(of: 2) ? ["even": Double(step)] : ["odd": -1]
            let update = StepNumbers.Update(
                gradientNorm: 2 * Double(step),
                learningRate: Double(step) / 16
            )
            record.add(StepNumbers(losses: losses, updates: ["a": update]), roles: ["a"])
            try record.write(after: step, isLast: step == 23) {
                Issue.record("no sheet was requested")
                return []
            }
        }
        let files = try ReadEvent.files(in: folder.url.appending(path: "events/vae"))
        let events = try #require(files.first ?? nil)
        #expect(events.map(\.step) == [0, 8, 10, 20, 23])
        #expect(events[1].isStart)
        #expect(
            events[2].scalars.filter { $0.key != "vae/seconds_per_step" } == [
                "vae/even": 9, "vae/odd": -1, "vae/gradient_norm": 18, "vae/learning_rate": 0.625,
            ]
        )
        #expect(events[3].scalars["vae/even"] == 16)
        #expect(events[4].scalars["vae/gradient_norm"] == 44)
        #expect(events[2...].allSatisfy { ($0.scalars["vae/seconds_per_step"] ?? -1) >= 0 })
    }

    @Test func prefixesTheCurvesOfSeveralRolesWithTheirNames() throws {
        let folder = try TemporaryDirectory()
        let record = StageRecord("dmd", in: folder.url, SampleOptions(everySteps: 5, clips: 1))
        try record.begin(after: 0)
        let sheets = try ["samples", "critic"].map { name in
            try SampleSheet([[.zeros([3, 8, 8])]], name: name, caption: name)
        }
        for step in 1...10 {
            var numbers = StepNumbers(losses: ["critic_loss": 1])
            numbers.updates["critic"] = .init(gradientNorm: Double(step), learningRate: 0.5)
            if step.isMultiple(of: 5) {
                numbers.updates["generator"] = .init(gradientNorm: 4, learningRate: 0.25)
            }
            record.add(numbers, roles: ["generator", "critic"])
            try record.write(after: step, isLast: false) { sheets }
        }
        let files = try ReadEvent.files(in: folder.url.appending(path: "events/dmd"))
        let events = try #require(files.first ?? nil)
        let points = try #require(events.last { !$0.scalars.isEmpty }).scalars
        #expect(
            points.filter { $0.key != "dmd/seconds_per_step" } == [
                "dmd/critic_loss": 1, "dmd/critic_gradient_norm": 5.5,
                "dmd/critic_learning_rate": 0.5, "dmd/generator_gradient_norm": 4,
                "dmd/generator_learning_rate": 0.25,
            ]
        )
        let tags = events.flatMap { $0.images.keys }
        #expect(tags == ["dmd/samples", "dmd/critic", "dmd/samples", "dmd/critic"])
        let pictures = try FileManager.default.contentsOfDirectory(
            atPath: folder.url.appending(path: "samples").path
        )
        #expect(
            pictures.sorted() == [
                "dmd-00000005.png", "dmd-00000010.png", "dmd-critic-00000005.png",
                "dmd-critic-00000010.png",
            ]
        )
    }

    @Test func recordingChangesNothing() throws {
        let start = try TinyRecipe.initialTransformer(recipe)
        func trained(_ record: StageRecord?, in folder: TemporaryDirectory) throws -> [[Float]] {
            let loop = TrainingLoop(
                "transformer",
                steps: 4,
                method: try transformer(),
                saving: CheckpointSaving(
                    try Checkpoints(folder: folder.url, stage: "transformer", kept: 1),
                    recipe.checkpoints,
                    metadata: [:]
                ),
                record: record
            )
            let state = try loop.run(from: { [StreamMethod.trainedRole: start] }) { _ in }
            let network = try #require(state.networks[StreamMethod.trainedRole])
            return try (network.parameters + network.optimizer.averages).map {
                try $0.detached().array(of: Float.self)
            }
        }
        let (watched, alone) = (try TemporaryDirectory(), try TemporaryDirectory())
        let options = SampleOptions(everySteps: 1, clips: 1)
        let record = StageRecord("transformer", in: watched.url, options)
        #expect(try trained(record, in: watched) == trained(nil, in: alone))
        let sheets = try FileManager.default.contentsOfDirectory(
            atPath: watched.url.appending(path: "samples").path
        )
        #expect(sheets.count == 4)
    }

    @Test func sheetsShowSourceResultsAndExactTargets() throws {
        let weights = Networks([
            StreamMethod.trainedRole: try TinyRecipe.initialTransformer(recipe)
        ])
        let method = try transformer()
        let folder = try TemporaryDirectory()
        let sheet = try #require(try method.samples(weights).first)
        let path = try folder.file("sheet.png", try sheet.png().bytes)
        let frame = try readImage(path)
        let pixels = try Tensor(frame.pixels, [frame.height, frame.width, 3])
        /// The picture in a row and a column.
        func picture(_ row: Int, _ column: Int) throws -> [Int] {
            try pixels.narrowed(0, 64 * row, 64).narrowed(1, 64 * column, 64).array(of: Int.self)
        }
        let clip = try clips.example(0, frames: 5, height: 64, width: 64)
        func levels(_ clip: Tensor) throws -> [Int] {
            try (clip.selected(0, -1).permuted(1, 2, 0) * 255).rounded().array(of: Int.self)
        }
        #expect(try picture(0, 0) == levels(clip))
        for (index, style) in recipe.styles.enumerated() {
            #expect(sheet.caption.contains(style.name))
            #expect(try picture(1, 1 + index) == levels(style(clip)), "\(style)")
            // Results come from the network, so they differ from the targets and from style to
            // style.
            #expect(try picture(0, 1 + index) != picture(1, 1 + index))
            #expect(try index == 0 || picture(0, 1 + index) != picture(0, index))
        }
        let codec = try LatentCodec(Self.autoencoder.get(), recipe.vae.model)
        let decoded = try codec.decode(codec.encode(clip.unsqueezed(0))).squeezed(0)
        #expect(try picture(1, 0) == levels(decoded))
        let again = try #require(try method.samples(weights).first)
        #expect(try again.png() == sheet.png())
    }

    @Test func resumedRunsRecordWhereTheyStart() throws {
        let start = try Self.autoencoder.get()
        let folder = try TemporaryDirectory()
        func run(stoppingAt stop: Int?) throws {
            var method = AutoencoderMethod(recipe, clips)
            method.samples = 1
            let loop = TrainingLoop(
                "vae",
                steps: 6,
                method: method,
                saving: CheckpointSaving(
                    try Checkpoints(folder: folder.url, stage: "vae", kept: 1),
                    recipe.checkpoints,
                    metadata: [:]
                ),
                record: StageRecord("vae", in: folder.url, SampleOptions(everySteps: 1, clips: 1))
            )
            _ = try loop.run(
                from: { [method.trainedRole: start] },
                stoppingAt: stop,
                onProgress: { _ in }
            )
        }
        func sheet(_ step: Int) throws -> Data {
            try Data(contentsOf: folder.url.appending(path: "samples/vae-0000000\(step).png"))
        }
        try run(stoppingAt: 5)
        let before = try sheet(5)
        // The checkpoint was written after step 4, so step 5 is repeated.
        try run(stoppingAt: nil)
        // The stage is done: there is nothing to write.
        try run(stoppingAt: nil)
        let files = try ReadEvent.files(in: folder.url.appending(path: "events/vae"))
        #expect(files.compactMap { $0?.first(where: \.isStart)?.step } == [1, 5])
        #expect(
            files.compactMap { $0?.filter { !$0.images.isEmpty }.map(\.step) } == [
                [1, 2, 3, 4, 5], [5, 6],
            ]
        )
        #expect(try sheet(5) == before)
        #expect(try sheet(6) != before)
    }
}

/// Expects the curves and sheets of a run of `TinyRecipe` in `folder`.
func expectRecord(in folder: URL) throws {
    let losses = ["vae": "squared_error", "text": "squared_error", "transformer": "first_step"]
    for (stage, loss) in losses {
        let files = try ReadEvent.files(in: folder.appending(path: "events/\(stage)"))
        #expect(files.count == 1)
        let last = try #require(files.first??.last { !$0.scalars.isEmpty })
        #expect(last.step == ["vae": 6, "text": 4, "transformer": 8][stage])
        for name in [loss, "gradient_norm", "learning_rate", "seconds_per_step"] {
            #expect(try #require(last.scalars["\(stage)/\(name)"]) > 0)
        }
    }
    // A sheet has two rows for each clip. Its columns are the clip's frames, or the source and the
    // styles.
    let vae = (width: 5 * 32, height: 2 * 2 * 32)
    let transformer = (width: 4 * 64, height: 2 * 2 * 64)
    for (stage, steps, size) in [("vae", [5, 6], vae), ("transformer", [5, 8], transformer)] {
        let files = try ReadEvent.files(in: folder.appending(path: "events/\(stage)"))
        let sheets = (files.first ?? nil)?.filter { !$0.images.isEmpty } ?? []
        #expect(sheets.map(\.step) == steps)
        for sheet in sheets {
            let path = "\(folder.path)/samples/\(stage)-0000000\(sheet.step).png"
            #expect(
                try sheet.images == [
                    "\(stage)/samples": Data(contentsOf: URL(fileURLWithPath: path))
                ]
            )
            let picture = try readImage(path)
            #expect((picture.width, picture.height) == size)
        }
    }
}

extension StepNumbers {
    /// The numbers of a step with one micro-batch.
    fileprivate init(losses: [String: Double], updates: [String: Update] = [:]) {
        self.init(parts: [0])
        add([losses])
        self.updates = updates
    }
}

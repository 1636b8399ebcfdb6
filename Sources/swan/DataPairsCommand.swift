import ArgumentParser
import Foundation
import SwanCheckpoints
import SwanDatasets
import SwanDistributed
import SwanPipelines
import SwanSystem
import Torch

/// `swan data pairs`: samples a teacher for the prompts of a file.
struct DataPairsCommand: RankedCommand, LoggedCommand {
    static let configuration = CommandConfiguration(
        commandName: "pairs",
        abstract: "Sample a teacher for each prompt of a file, and keep states of the way.",
        discussion: """
            Writes FOLDER/00000.pt and so on, {prompt: states} each, noise first and clean latents last: what \
            ODE regression trains on after 'swan data pack'. An interrupted run continues with the prompts \
            that are missing. Started by 'swan launch', the processes share the prompts.

            EXAMPLES:
              swan data pairs prompts.txt pairs/ --model Wan2.1-T2V-1.3B
              swan data pairs prompts.txt pairs/ --model tiny-t2v --steps 100 --timesteps 1000,603,140,0
            """
    )

    @Argument(help: "The prompts, one a line.")
    var prompts: String

    @Argument(help: "The folder for the files.")
    var folder: String

    @OptionGroup(title: "MODEL")
    var loading: ModelLoadingOptions

    @Option(help: "The number of Euler steps of the teacher.")
    var steps = 50

    @Option(help: "The shift of the noise levels.")
    var shift = 8.0

    @Option(help: "The guidance scale; 1 turns it off.")
    var guidance = 6.0

    @Option(name: .customLong("negative-prompt"), help: "What the videos should not show.")
    var negativePrompt: String?

    @Option(
        help: ArgumentHelp(
            "The student's denoising steps: timesteps of the states to keep.",
            valueName: "list"
        )
    )
    var timesteps = IntegerList(values: [1_000, 757, 522, 0])

    @Option(help: "The size of the videos, such as 832x480; default: the model's.")
    var size: SizeArgument?

    @Option(help: "The number of frames, 4n + 1; default: the model's.")
    var frames: Int?

    @Option(help: "The seed of the noise.")
    var seed: UInt64 = 0

    @OptionGroup var logging: LogOptions

    func run() throws {
        let list = try PromptFile(prompts).prompts
        var options = try loading.options()
        // States are compared with float32 ones; the reference samples in it.
        options.dtype = options.dtype ?? .float32
        var states = TrajectoryOptions()
        (states.steps, states.shift, states.guidance) = (steps, shift, guidance)
        (states.negativePrompt, states.frames) = (negativePrompt, frames)
        states.timesteps = timesteps.values
        states.size = size.map { .init(width: $0.width, height: $0.height) }
        let job = RankedJob(models: ["--model": loading.model], agreed: [:])
        try Ranks.run(job) { [options, states] world in
            let model = try GenerationModel(loading.model, options: options)
            let trajectory = try TeacherTrajectory(model, states)
            let recipe = PairGeneration.Recipe(
                digest: try ModelDigest.text(of: loading.model),
                states,
                trajectory,
                dtype: "\(options.dtype ?? .float32)",
                seed: seed
            )
            try write(list, trajectory, recipe, share: (world?.rank ?? 0, world?.size ?? 1))
        }
    }

    private func write(
        _ list: [String],
        _ trajectory: TeacherTrajectory,
        _ recipe: PairGeneration.Recipe,
        share: (rank: Int, size: Int)
    ) throws {
        let generation = try PairGeneration(list, to: folder, recipe)
        try DataRun.stoppable { check in
            try generation.run(trajectory, share: share, check: check) { progress in
                let seconds = progress.seconds.map { String(format: ", %.1f s", $0) } ?? ""
                Terminal.standardError.write(
                    kind: .note,
                    "\(progress.done) of \(progress.total) prompts\(seconds)"
                )
            }
        }
    }
}

/// Integers with commas between.
struct IntegerList: ExpressibleByArgument, CustomStringConvertible {
    let values: [Int]

    init(values: [Int]) { self.values = values }

    init?(argument: String) {
        let parts = argument.split(separator: ",", omittingEmptySubsequences: false)
        values = parts.compactMap { Int($0) }
        guard values.count == parts.count else { return nil }
    }

    var description: String { values.map(String.init).joined(separator: ",") }
    var defaultValueDescription: String { description }
}

import SwanDistributed
import SwanSystem
import SwanThreads
import Torch

/// The first rank of a pipeline by steps: it turns chunks into ticks.
final class StepHead: StreamHead {
    private let stage: StepStage
    private let setup: StageSetup
    let incoming: StagePost.Queue
    private var progress: HeadProgress
    /// The ticks that chunks in flight still need.
    private var pending = 0

    init(_ stage: StepStage, _ setup: StageSetup, incoming: StagePost.Queue) {
        (self.stage, self.setup, self.incoming) = (stage, setup, incoming)
        progress = HeadProgress(setup)
    }

    func pass(_ message: StageMessage) throws -> Bool { try stage.handle(message) }

    func change(_ message: StageMessage) throws -> Bool {
        throw SwanError(
            .invalidRequest,
            "steps and noise of a stream that is divided by steps stay as they are"
        )
    }

    func end(_ message: StageMessage) throws {
        if message.mark == 0 { guard try drain() else { return } }
        _ = try stage.handle(message)
    }

    func add(_ message: StageMessage) throws -> Bool {
        let latents = message.tensors[0]
        if message.mark == 1 {
            guard try drain() else { return false }
            progress.beginScene(setup.plan, frames: latents.size(2) - 1)
        }
        _ = try progress.open(message)
        defer { progress.close(latentFrames: latents.size(2)) }
        guard !progress.isFirst else {
            progress.begin()
            return try stage.handle(
                StepStage.first(
                    progress.ticks.row(
                        chunk: progress.chunks,
                        start: 0,
                        entered: 0,
                        step: 0
                    ),
                    latents
                )
            )
        }
        if latents.size(2) != progress.frames {
            guard try drain() else { return false }
            progress.frames = latents.size(2)
        }
        let (entered, row) = progress.enter()
        progress.ticks.forget(before: entered)
        pending = setup.stepCount - 1
        return try stage.handle(StepStage.tick(row, incoming: (row, latents)))
    }

    /// Runs ticks without a new chunk until all have left.
    private func drain() throws -> Bool {
        while pending > 0 {
            progress.ticks.skip(1)
            pending -= 1
            let setting = progress.ticks.row(
                chunk: 0,
                start: 0,
                entered: progress.ticks.tick,
                step: 0
            )
            guard try stage.handle(StepStage.tick(setting, incoming: nil)) else { return false }
        }
        return true
    }
}

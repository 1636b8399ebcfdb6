import SwanDistributed
import SwanModels
import SwanSystem
import SwanThreads
import Torch

/// One rank of a pipeline by steps: it runs all blocks for some of the denoising steps.
///
/// All ranks run the same tick, the forward that one rank alone would run, each its own rows of it.
/// A chunk's latents go to the next rank when its row does; nothing comes back.
final class StepStage {
    /// Where messages go.
    struct Outlets {
        /// The next rank; nil for the last.
        var next: StagePost.Queue?
        /// The ranks that decode, for the last rank.
        var clean: [StagePost.Queue] = []

        /// Gives a message to all ranks that decode; returns false if they accept no more.
        func put(clean message: StageMessage) -> Bool {
            clean.allSatisfy { $0.put(message) }
        }
    }

    /// What a message of work is.
    private enum Mark {
        /// A tick. Its first row says what applies to it; a second one comes in.
        static let tick = 0
        /// The first chunk, which runs all steps alone.
        static let first = 1
    }

    private var network: StageNetwork
    private let steps: Range<Int>
    private let setup: StageSetup
    private let finish: StageFinish
    private let outlets: Outlets
    private let mover: BlockMover
    private let place: Int
    /// The chunks at this rank's steps.
    private var rows: [(row: StageMessage.Row, latents: Tensor)?] = []

    /// - Parameter place: This rank's place among those that run the transformer.
    init(
        _ part: StagedParts,
        _ setup: StageSetup,
        place: Int,
        _ outlets: Outlets,
        _ mover: BlockMover
    ) throws(SwanError) {
        let ranks = mover.stages.count
        (self.setup, self.outlets, self.mover, self.place) = (setup, outlets, mover, place)
        steps = Shares(setup.stepCount, among: ranks)[place]
        network = try StageNetwork(part.transformer, setup, rows: steps.count)
        finish = StageFinish(plan: setup.plan)
    }

    /// Throws `invalidRequest` for streams that cannot be divided by steps.
    static func check(_ plan: DenoisingPlan, ranks: Int) throws(SwanError) {
        guard plan.streamBatch else {
            throw SwanError(
                .invalidRequest,
                "without the stream batch, one step waits for another; use --layout blocks"
            )
        }
        guard ranks <= plan.steps.count else {
            throw SwanError(
                .invalidRequest,
                "\(plan.steps.count) denoising steps cannot be divided among \(ranks) ranks; use at "
                    + "most \(plan.steps.count) ranks, or --layout blocks"
            )
        }
    }

    /// Takes part in a message; returns false when no more are accepted.
    func handle(_ message: StageMessage) throws -> Bool {
        switch message.kind {
        case .text:
            guard outlets.next?.put(message) ?? true else { return false }
            try inference { () throws(SwanError) in
                try network.add(text: message.number, message.tensors[0])
            }
            return true
        case .work:
            network.releaseTexts(before: message.number)
            return try inference { () throws(SwanError) in
                try message.mark == Mark.first ? runFirst(message) : runTick(message)
            }
        case .end:
            _ = outlets.next?.put(message)
            _ = outlets.put(clean: message)
            return false
        case .chunk, .results, .clean, .frames, .blocks, .times, .idle, .plan, .ready:
            throw SwanError(.invalidData, "a stage got a message of kind \(message.kind)")
        }
    }

    // MARK: - Work of the first rank

    /// The message for a stream's first chunk.
    static func first(_ row: StageMessage.Row, _ latents: Tensor) -> StageMessage {
        var message = StageMessage(.work)
        (message.mark, message.number) = (Mark.first, row.prompt)
        (message.rows, message.tensors) = ([row], [latents])
        return message
    }

    /// The message for a tick.
    ///
    /// - Parameters:
    ///   - setting: A row at step 0, with what applies to the tick.
    ///   - incoming: The chunk that enters.
    static func tick(
        _ setting: StageMessage.Row,
        incoming: (row: StageMessage.Row, latents: Tensor)?
    ) -> StageMessage {
        var message = StageMessage(.work)
        (message.mark, message.number) = (Mark.tick, setting.prompt)
        message.rows = [setting] + (incoming.map { [$0.row] } ?? [])
        message.tensors = incoming.map { [$0.latents] } ?? []
        return message
    }

    // MARK: - The first chunk

    private func runFirst(_ message: StageMessage) throws(SwanError) -> Bool {
        var row = message.rows[0]
        var latents = try message.tensors[0].to(setup.device)
        let frames = latents.size(2)
        let isScene = !rows.isEmpty
        if isScene { try network.restart(setup, framesPerChunk: frames - 1) }
        for step in steps {
            (row.step, row.company) = (step, step..<step + 1)
            let results = try run([row], latents, in: Array(network.cacheRows.prefix(1)))
            latents = results[0].latents
        }
        if steps.upperBound < setup.stepCount {
            guard outlets.next?.put(Self.first(row, latents)) ?? true else { return false }
        } else {
            guard put(clean: row, latents) else { return false }
        }
        try shareHistory(firstFrames: frames)
        let zeros = try latents.narrowed(2, 0, 1).zerosLike()
            .repeated([1, 1, isScene ? frames - 1 : setup.plan.framesPerChunk, 1, 1])
        rows = steps.map { step in
            var zero = row
            (zero.chunk, zero.start) = (-1 - step, row.start + frames)
            return (zero, zeros)
        }
        return true
    }

    /// Gives all rows of all ranks the history of the last step, as one rank alone does.
    private func shareHistory(firstFrames: Int) throws(SwanError) {
        let history = network.cacheRows[0]
        let blocks = network.transformer.backbone.blocks
        if steps.upperBound == setup.stepCount {
            // A chunk that fills the cache would have listed its slots at the second step.
            if setup.stepCount > 1, firstFrames == setup.cache.frames {
                try network.cache.layOut([history], framesPerChunk: firstFrames)
            }
            var sends: [ProcessWork] = []
            for block in blocks {
                let record = try network.cache.record(of: block, row: history)
                for other in 0..<place {
                    sends += try mover.send(record, to: other, number: block)
                }
            }
            for work in sends { try work.wait() }
        } else {
            for block in blocks {
                let record = try mover.receive(
                    from: mover.stages.count - 1,
                    number: block,
                    network.transformer.config
                )
                try network.cache.restore(record, block: block, row: history)
            }
        }
        try network.cache.spread(history, over: network.cacheRows)
    }

    // MARK: - Ticks

    private func runTick(_ message: StageMessage) throws(SwanError) -> Bool {
        let setting = message.rows[0]
        let incoming =
            message.rows.count > 1
            ? (message.rows[1], try message.tensors[0].to(setup.device)) : nil
        let leaving = rows.removeLast()
        rows.insert(incoming, at: 0)
        // The next rank starts at the same time as this one.
        let passed = Self.tick(setting, incoming: leaving)
        guard outlets.next?.put(passed) ?? true else { return false }
        let active = rows.indices.filter { rows[$0] != nil }
        guard !active.isEmpty else { return true }
        var own: [StageMessage.Row] = []
        for index in active {
            guard var row = rows[index]?.row else { continue }
            row.step = steps.lowerBound + index
            (row.company, row.prompt) = (setting.company, setting.prompt)
            row.firstTimestep = setting.firstTimestep
            own.append(row)
        }
        let latents = try concatenated(active.compactMap { rows[$0]?.latents })
        try network.layOut(frames: latents.size(2))
        let results = try run(own, latents, in: active.map { network.cacheRows[$0] })
        for (index, result) in zip(active, results) {
            rows[index] = (result.row, result.latents)
            guard result.isFinished, result.row.chunk >= 0 else { continue }
            guard put(clean: result.row, result.latents) else { return false }
        }
        return true
    }

    private func run(
        _ own: [StageMessage.Row],
        _ latents: Tensor,
        in cacheRows: [CacheRow]
    ) throws(SwanError) -> [StageFinish.Result] {
        let context = try network.context(of: own, latents)
        let backbone = network.transformer.backbone
        let y = try network.run(
            backbone.embed(latents),
            context,
            own,
            frames: latents.size(2),
            cacheRows: cacheRows
        )
        let flow = try backbone.project(y, context.timestep, backbone.grid(of: latents))
        return try finish(flow, latents, own)
    }

    private func put(clean row: StageMessage.Row, _ latents: Tensor) -> Bool {
        var message = StageMessage(.clean)
        (message.number, message.tensors) = (row.chunk, [latents])
        message.mark = row.start == 0 ? 1 : 0
        return outlets.put(clean: message)
    }
}

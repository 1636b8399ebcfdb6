import SwanDistributed
import SwanSystem
import SwanThreads
import Torch

/// The first rank of a pipeline by blocks: it decides which rows run in which forward.
///
/// With N ranks, N forwards are under way. The forward of iteration p runs the chunk that has just
/// come in row 0, and in row s + 1 what row s of iteration p - N has become; so row s holds a chunk
/// N s iterations after it came, and no rank waits for another. Each row sees the chunks, and the
/// zeros before them, in the order of one rank.
final class RingHead: StreamHead {
    private struct Item {
        let chunk, start, entered: Int
    }

    private let stage: RingStage
    private var setup: StageSetup
    private let ranks: Int
    let incoming: StagePost.Queue
    private let results: StagePost.Queue
    private var balance: StagedBalance

    private var progress: HeadProgress
    /// The last chunk's first latent frame.
    private var example: Tensor?

    /// The next forward's number, and the first of the stream batch.
    private var iteration = 0
    private var firstOfBatch = 0
    /// The position of the chunk after the first.
    private var startOfBatch = 0
    /// The results that have come and are not used yet.
    private var received: [Int: StageMessage] = [:]
    /// The next result to come.
    private var awaited = 0
    /// The chunks whose last step was not sent.
    private var pending = 0
    /// The oldest tick of each of the last `ranks` forwards.
    private var recent: [Int] = []
    private var items: [Int: Item] = [:]

    init(
        _ stage: RingStage,
        _ setup: StageSetup,
        ranks: Int,
        incoming: StagePost.Queue,
        results: StagePost.Queue,
        _ balance: StagedBalance
    ) {
        (self.stage, self.setup, self.ranks) = (stage, setup, ranks)
        (self.incoming, self.results, self.balance) = (incoming, results, balance)
        progress = HeadProgress(setup)
    }

    func pass(_ message: StageMessage) throws -> Bool { try stage.handle(message) }

    func end(_ message: StageMessage) throws {
        if message.mark == 0 { guard try drain() else { return } }
        _ = try stage.handle(StageMessage(.end))
        // The last rank may still be about to send results.
        while let message = results.take(), message.kind != .end {}
    }

    // MARK: - Chunks

    func add(_ message: StageMessage) throws -> Bool {
        let latents = try message.tensors[0].to(setup.device)
        if message.mark == 1 {
            guard try beginScene(frames: latents.size(2) - 1) else { return false }
        }
        let given = try progress.open(message)
        defer { progress.close(latentFrames: latents.size(2)) }
        example = try inference { () throws(SwanError) in try latents.narrowed(2, 0, 1) }
        guard !progress.isFirst, setup.plan.streamBatch else {
            return try runAlone(latents, prompt: given.prompt)
        }
        if latents.size(2) != progress.frames {
            guard try drain() else { return false }
            // Alone, the chunks in flight would leave in as many ticks without a new one.
            progress.ticks.skip(setup.stepCount - 1)
            progress.frames = latents.size(2)
        }
        let (entered, row) = progress.enter()
        items[progress.chunks] = Item(
            chunk: progress.chunks,
            start: progress.position,
            entered: entered
        )
        pending += 1
        return try iterate((row, latents))
    }

    /// Runs iterations without a new chunk until all have left.
    private func drain() throws -> Bool {
        while pending > 0 { guard try iterate(nil) else { return false } }
        return true
    }

    /// Makes all ranks forget the past, once all chunks before a cut have left.
    private func beginScene(frames: Int) throws -> Bool {
        guard try drain() else { return false }
        var message = StageMessage(.plan)
        (message.mark, message.number) = (RingStage.Mark.scene, frames)
        progress.beginScene(setup.plan, frames: frames)
        (recent, items) = ([], [:])
        return try stage.handle(message)
    }

    /// Runs all steps of a chunk one after the other.
    private func runAlone(_ latents: Tensor, prompt: Int) throws -> Bool {
        var latents = latents
        for step in 0..<setup.stepCount {
            var work = StageMessage(.work)
            let isLast = step + 1 == setup.stepCount
            let spreads = setup.plan.streamBatch && isLast
            work.mark = spreads ? RingStage.Mark.spreading : RingStage.Mark.sequential
            var row = StageMessage.Row(
                chunk: progress.chunks,
                start: progress.position,
                step: step,
                company: step..<step + 1,
                firstTimestep: progress.firstTimestep,
                prompt: prompt
            )
            row.noise = progress.noise
            work.rows = [row]
            (work.tensors, work.number) = ([latents], prompt)
            guard try send(work) else { return false }
            if isLast { break }
            guard let result = try result(of: iteration - 1), let next = result.tensors.first else {
                return false
            }
            latents = next
        }
        guard progress.isFirst else { return true }
        progress.begin()
        firstOfBatch = iteration
        startOfBatch = latents.size(2)
        return true
    }

    // MARK: - Changes

    func change(_ message: StageMessage) throws -> Bool {
        let new = try setup.changed(StagedTerms(message))
        progress.changeNoise()
        var message = message
        message.number = progress.noise
        guard new.plan.stepsDiffer(from: setup.plan) else {
            (setup, message.mark) = (new, RingStage.Mark.noise)
            return try stage.handle(message)
        }
        guard try drain() else { return false }
        (setup, message.mark) = (new, RingStage.Mark.steps)
        progress.restart(new.plan)
        (firstOfBatch, startOfBatch) = (iteration, progress.position)
        (recent, items) = ([], [:])
        return try stage.handle(message)
    }

    // MARK: - Iterations

    /// Sends the rows of the next forward of the stream batch.
    private func iterate(_ new: (row: StageMessage.Row, latents: Tensor)?) throws -> Bool {
        var rows: [(row: StageMessage.Row, latents: Tensor)] = new.map { [$0] } ?? []
        if iteration - ranks >= firstOfBatch {
            guard let result = try result(of: iteration - ranks) else { return false }
            let all = try result.tensors.first?.to(setup.device)
            for (index, row) in result.rows.enumerated() {
                guard let all else { break }
                let latents = try inference { () throws(SwanError) in
                    try all.narrowed(0, index, 1)
                }
                rows.append((try next(row), latents))
            }
        }
        rows += try zeros()
        rows.sort { $0.row.step < $1.row.step }
        var work = StageMessage(.work)
        work.rows = rows.map(\.row)
        if !rows.isEmpty {
            work.tensors = [
                try inference { () throws(SwanError) in try concatenated(rows.map(\.latents)) }
            ]
        }
        work.number = progress.ticks.prompt(at: oldestTick(work.rows))
        for row in work.rows where row.step + 1 == setup.stepCount {
            items[row.chunk] = nil
            if row.chunk >= 0 { pending -= 1 }
        }
        return try send(work)
    }

    /// The row at its next step.
    private func next(_ row: StageMessage.Row) throws(SwanError) -> StageMessage.Row {
        guard let item = items[row.chunk] else {
            throw SwanError(
                .invalidData,
                "the last rank returned chunk \(row.chunk), which has left"
            )
        }
        return progress.ticks.row(
            chunk: item.chunk,
            start: item.start,
            entered: item.entered,
            step: row.step + 1
        )
    }

    /// The zeros that begin in this iteration: one rank alone fills the rows with them after the
    /// first chunk. Row s begins with the s-th when the first chunk would come from s ticks above.
    private func zeros() throws(SwanError) -> [(row: StageMessage.Row, latents: Tensor)] {
        let past = iteration - firstOfBatch
        var rows: [(row: StageMessage.Row, latents: Tensor)] = []
        for step in 1..<max(1, setup.stepCount) where past == (ranks - 1) * step {
            guard let example else { continue }
            let count = progress.frames
            let latents = try inference { () throws(SwanError) in
                try example.zerosLike().repeated([1, 1, count, 1, 1])
            }
            let item = Item(chunk: -step, start: startOfBatch, entered: 1 - step)
            items[item.chunk] = item
            rows.append(
                (
                    progress.ticks.row(
                        chunk: item.chunk,
                        start: item.start,
                        entered: item.entered,
                        step: step
                    ), latents
                )
            )
        }
        return rows
    }

    /// The oldest tick whose prompt rows of this forward or of later ones need.
    private func oldestTick(_ rows: [StageMessage.Row]) -> Int {
        let own = rows.compactMap { row in items[row.chunk].map { $0.entered + row.step } }
        recent.append(own.min() ?? progress.ticks.tick)
        if recent.count > ranks { recent.removeFirst() }
        let begins = iteration - firstOfBatch < (ranks - 1) * (setup.stepCount - 1)
        let oldest = begins ? 1 : recent.min() ?? progress.ticks.tick
        progress.ticks.forget(before: oldest)
        return oldest
    }

    // MARK: - Messages

    /// Sends work through this rank; first makes sure that no more than `ranks` forwards are under
    /// way, and that blocks move if they are to.
    private func send(_ work: StageMessage) throws -> Bool {
        guard try takeResults(through: iteration - ranks) else { return false }
        // Of chunks that run alone, some results are not used.
        received[iteration - ranks - 1] = nil
        if let map = try balance.nextMap(stage.map, at: iteration) {
            var message = StageMessage(.blocks)
            message.epoch = map.epoch
            message.tensors = [try Tensor(map.counts, [map.counts.count])]
            guard try stage.handle(message) else { return false }
        }
        if let question = try balance.question(ranks: ranks, at: iteration) {
            guard try stage.handle(question) else { return false }
        }
        var work = work
        (work.iteration, work.epoch) = (iteration, stage.map.epoch)
        iteration += 1
        return try stage.handle(work)
    }

    /// The result of an iteration, taken once; nil if the pipeline has ended.
    private func result(of iteration: Int) throws -> StageMessage? {
        guard try takeResults(through: iteration) else { return nil }
        return received.removeValue(forKey: iteration)
    }

    private func takeResults(through last: Int) throws -> Bool {
        while awaited <= last {
            guard let message = results.take() else { return false }
            switch message.kind {
            case .results:
                guard message.iteration == awaited else {
                    throw SwanError(
                        .invalidData,
                        "results of forward \(message.iteration) came instead of \(awaited)"
                    )
                }
                received[awaited] = message
                awaited += 1
            case .times: try balance.take(message)
            default: return false
            }
        }
        return true
    }
}

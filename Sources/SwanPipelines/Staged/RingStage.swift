import SwanDistributed
import SwanModels
import SwanSystem
import SwanThreads
import Torch

/// One rank of a pipeline by blocks: it runs its blocks on the rows of each message and passes them
/// on.
///
/// The last rank turns the flow into clean latents, noises rows for their next step and returns them
/// to the first, and passes finished chunks to the decoder. StreamDiffusionV2,
/// https://arxiv.org/abs/2511.07399, section 4.3 (streamv2v/inference_pipe.py).
final class RingStage {
    /// What work is, apart from rows of a stream batch.
    enum Mark {
        static let batch = 0
        /// One chunk whose steps run one after the other in the same row.
        static let sequential = 1
        /// The same, at the last step of a stream's first chunk: its history becomes that of all rows.
        static let spreading = 2

        /// Of a plan: other noise alone, or other steps.
        static let noise = 0
        static let steps = 1
        /// A cut: the number of the message is that of later chunks' latent frames.
        static let scene = 2
    }

    /// Where messages go.
    struct Outlets {
        /// The next rank; nil for the last.
        var next: StagePost.Queue?
        /// The first rank, for the last one.
        var results: StagePost.Queue?
        /// The ranks that decode, for the last rank.
        var clean: [StagePost.Queue] = []

        /// Gives a message to all ranks that decode; returns false if they accept no more.
        func put(clean message: StageMessage) -> Bool {
            clean.allSatisfy { $0.put(message) }
        }
    }

    private(set) var network: StageNetwork
    private(set) var map: BlockMap
    private let place: Int
    private let device: Device
    private var finish: StageFinish
    private var setup: StageSetup
    private let outlets: Outlets
    private let mover: BlockMover
    private let load: StagedParts.LoadBlocks
    private let meter: StageMeter

    /// - Parameter place: This rank's place among those that run the transformer.
    init(
        _ part: StagedParts,
        _ setup: StageSetup,
        place: Int,
        _ outlets: Outlets,
        _ mover: BlockMover,
        _ meter: StageMeter
    ) throws(SwanError) {
        (self.place, self.outlets, self.mover, self.meter) = (place, outlets, mover, meter)
        (map, load, device, self.setup) = (part.map, part.load, setup.device, setup)
        network = try StageNetwork(part.transformer, setup, rows: setup.rowCount)
        finish = StageFinish(plan: setup.plan)
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
        case .work: return try inference { () throws(SwanError) in try run(message) }
        case .times: return try pass(meter.filled(message, place, blocks: map.counts[place]))
        case .blocks:
            guard outlets.next?.put(message) ?? true else { return false }
            try inference { () throws(SwanError) in try move(message) }
            return true
        case .plan:
            guard outlets.next?.put(message) ?? true else { return false }
            try inference { () throws(SwanError) in try change(message) }
            return true
        case .end:
            _ = outlets.next?.put(message)
            _ = outlets.results?.put(message)
            _ = outlets.put(clean: message)
            return false
        case .chunk, .results, .clean, .frames, .idle, .ready:
            throw SwanError(.invalidData, "a stage got a message of kind \(message.kind)")
        }
    }

    /// Passes a message to the next rank, or from the last to the first.
    private func pass(_ message: StageMessage) -> Bool {
        (outlets.next ?? outlets.results)?.put(message) ?? true
    }

    // MARK: - Work

    private func run(_ message: StageMessage) throws(SwanError) -> Bool {
        guard message.epoch == map.epoch else {
            throw SwanError(
                .invalidData,
                "work for block map \(message.epoch) reached a rank with map \(map.epoch)"
            )
        }
        network.releaseTexts(before: message.number)
        guard !message.rows.isEmpty else { return try finish(message, [], nil) }
        guard let latents = try message.tensors.last?.to(device) else {
            throw SwanError(.invalidData, "work without latents")
        }
        let frames = latents.size(2)
        if message.rows.contains(where: { $0.start != 0 }) { try network.layOut(frames: frames) }
        let context = try network.context(of: message.rows, latents)
        let isEmbedded = message.tensors.count == 2
        let x =
            isEmbedded
            ? try message.tensors[0].to(device) : try network.transformer.backbone.embed(latents)
        let cacheRows = network.cacheRows
        let used =
            message.mark == Mark.batch
            ? message.rows.map { cacheRows[$0.step] } : Array(cacheRows.prefix(1))
        let begin = ContinuousClock.now
        let y = try network.run(x, context, message.rows, frames: frames, cacheRows: used)
        try meter.add(since: begin, rows: message.rows.count, waitingFor: y)
        if message.mark == Mark.spreading {
            try network.cache.spread(cacheRows[0], over: cacheRows)
        }
        guard outlets.next == nil else {
            var passed = message
            passed.tensors = [y, latents]
            return pass(passed)
        }
        let grid = try network.transformer.backbone.grid(of: latents)
        let flow = try network.transformer.backbone.project(y, context.timestep, grid)
        return try finish(message, finish(flow, latents, message.rows), flow)
    }

    /// Returns rows to the first rank and passes a finished chunk to the decoder; on other ranks
    /// passes an empty message on.
    private func finish(
        _ message: StageMessage,
        _ rows: [StageFinish.Result],
        _ flow: Tensor?
    ) throws(SwanError) -> Bool {
        guard outlets.next == nil else { return pass(message) }
        for row in rows where row.isFinished && row.row.chunk >= 0 {
            var clean = StageMessage(.clean)
            (clean.number, clean.tensors) = (row.row.chunk, [row.latents])
            clean.mark = row.row.start == 0 ? 1 : 0
            guard outlets.put(clean: clean) else { return false }
        }
        let rest = rows.filter { !$0.isFinished }
        var results = StageMessage(.results)
        (results.iteration, results.rows) = (message.iteration, rest.map(\.row))
        if !rest.isEmpty { results.tensors = [try concatenated(rest.map(\.latents))] }
        return outlets.results?.put(results) ?? true
    }

    /// Changes to other steps or to other noise, which the first rank has given a number.
    private func change(_ message: StageMessage) throws(SwanError) {
        guard message.mark != Mark.scene else {
            return try network.restart(setup, framesPerChunk: message.number)
        }
        setup = try setup.changed(StagedTerms(message))
        if message.mark == Mark.steps {
            try network.change(setup)
            meter.reset(rows: setup.rowCount)
        }
        finish.change(setup.plan, noise: message.number)
    }

    // MARK: - Moving blocks

    /// Changes to a new map of blocks, after all work of the old one.
    ///
    /// Blocks that go down arrive before the first message of the new map, since their donor sends
    /// them first. Blocks that go up come when their donor has run its last message of the old map.
    private func move(_ message: StageMessage) throws(SwanError) {
        let counts: [Int] = try message.tensors[0].array()
        let new = try BlockMap(counts: counts, epoch: message.epoch)
        let (old, own) = (map[place], new[place])
        let sends = try mover.send(old.filter { !own.contains($0) }, to: new, network)
        var arrived: [CausalWanTransformer] = []
        for range in own.parts(outside: old) { arrived.append(try load(range)) }
        network.transformer = try network.transformer.holding(own, with: arrived)
        let donors = map
        try network.cache.serve(own)
        for block in own where !old.contains(block) {
            try mover.receive(block, from: donors.owner(of: block), &network)
        }
        try network.renewTexts()
        for work in sends { try work.wait() }
        map = new
        meter.reset()
    }
}

extension Range<Int> {
    /// The parts of the range below and above another.
    fileprivate func parts(outside other: Range<Int>) -> [Range<Int>] {
        let below = lowerBound..<Swift.max(lowerBound, Swift.min(upperBound, other.lowerBound))
        let above = Swift.min(upperBound, Swift.max(lowerBound, other.upperBound))..<upperBound
        // A range that does not meet the other is all below or all above it.
        if below == self || above == self { return [self] }
        return [below, above].filter { !$0.isEmpty }
    }
}

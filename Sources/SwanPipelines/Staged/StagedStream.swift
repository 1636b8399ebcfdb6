import Logging
import SwanCheckpoints
import SwanDistributed
import SwanMedia
import SwanModels
import SwanSystem
import SwanText
import SwanThreads
import Synchronization
import Torch

/// One rank's part of a stream that several ranks run together.
///
/// Rank 0 reads and encodes frames, and gets the decoded frames back; ranks in between run the
/// transformer by blocks (`RingStage`) or by steps (`StepStage`); the last rank decodes. The frames
/// are those of one rank.
final class StagedStream: Sendable {
    /// How a stage's costs are measured and blocks are moved, for tests.
    struct Trial: Sendable {
        var injection: StageMeter.Injection = { _, _, seconds in seconds }
        var choice: StagedBalance.Choice?
        /// The seconds after which a silent rank says that it is still there.
        var keepAlive = 5.0
    }

    private enum Channel {
        static let chunks = 0
        static let results = 1
        static let frames = 2
        /// To each rank that decodes, and from each rank of the pipeline.
        static let firstClean = 10_000
        static let firstLink = 20_000
    }

    /// The ends of channels on this rank.
    private struct Ends {
        /// From the encoder to the first stage, and from the decoder to rank 0.
        var chunks, frames: StagePost.Ends
        /// From the last stage to the decoder.
        var clean: [StagePost.Ends]
        /// From the last stage to the first; nil by steps, where nothing returns.
        var results: StagePost.Ends?
        /// From the last rank, and to the next.
        var last, next: StagePost.Queue?
    }

    let options: StreamOptions
    /// The most chunks that may be under way: as many as the pipeline holds, and some that wait.
    let mostChunks: Int
    private let roles: StagedRoles
    private let layout: StagedOptions
    private let setup: StageSetup
    private let rank: Int
    private let post: StagePost
    private let ends: Ends
    private let threads: WorkerThreads
    private let mover: BlockMover
    private let meter: StageMeter
    private let balance: StagedBalance
    private let budget: ComputeBudget
    private let clock: StreamClock
    /// The ranks that decode together; nil if one rank decodes.
    private let decoders: ProcessGroup?

    /// Joins the ranks of a stream. All ranks call this together, before they load anything that
    /// takes long: from here on they know that the others live.
    ///
    /// - Parameters:
    ///   - mostSteps: The most denoising steps that the stream will have; nil if they do not change.
    ///   - waiting: The chunks that may wait besides those that the pipeline holds.
    init(
        _ groups: StagedGroups,
        _ roles: StagedRoles,
        _ layout: StagedOptions,
        _ model: StagedSizes,
        _ options: StreamOptions,
        mostSteps: Int? = nil,
        waiting: Int = 8,
        trial: Trial = Trial(),
        clock: StreamClock = .continuous
    ) throws {
        (self.roles, self.layout, self.options, self.clock) = (roles, layout, options, clock)
        (rank, decoders) = (groups.data.rank, groups.decoding)
        let setup = try StageSetup(model, options)
        if layout.layout == .steps {
            try StepStage.check(setup.plan, ranks: roles.stages.count)
        }
        self.setup = setup
        let steps = max(setup.stepCount, mostSteps ?? 0)
        let threads = WorkerThreads()
        self.threads = threads
        post = StagePost(
            groups.data,
            aborting: groups.others,
            threads: threads,
            announce: groups.announce,
            rows: steps + 1,
            keepAlive: trial.keepAlive
        )
        mostChunks = roles.stages.count * steps + waiting
        ends = try Self.open(
            post,
            layout.layout,
            roles,
            mostChunks,
            StagedLimits(model, steps: steps, setup, options)
        )
        mover = BlockMover(group: groups.patient, stages: roles.stages, setup: setup)
        meter = StageMeter(
            isOn: layout.schedulesBlocks,
            rowCount: setup.rowCount,
            injection: trial.injection
        )
        balance =
            trial.choice.map { StagedBalance(isOn: true, choice: $0) }
            ?? StagedBalance(isOn: layout.schedulesBlocks)
        let isOf = [
            rank == 0, roles.stages.contains(rank), roles.decoders.contains(rank),
        ]
        budget = ComputeBudget.current.divided(by: isOf.count { $0 })
    }

    deinit { post.close() }

    /// Opens all channels.
    ///
    /// The number of chunks under way is limited where they are encoded, so that no receiver waits
    /// for room, and a sender only for the network.
    private static func open(
        _ post: StagePost,
        _ layout: StagedOptions.Layout,
        _ roles: StagedRoles,
        _ mostChunks: Int,
        _ limits: StagedLimits
    ) throws(SwanError) -> Ends {
        // Before a chunk there may be a text; costs and maps of blocks go round, too.
        let capacity = 2 * mostChunks + roles.size + 8
        func channel(
            _ number: Int,
            _ source: Int,
            _ target: Int,
            _ bytes: Int
        ) throws(SwanError) -> StagePost.Ends {
            try post.open(number, from: source, to: target, capacity: capacity, mostBytes: bytes)
        }
        var ends = Ends(
            chunks: try channel(Channel.chunks, 0, roles.head, limits.latents + limits.text),
            frames: try channel(Channel.frames, roles.decoder, 0, limits.frames),
            clean: []
        )
        for decoder in roles.decoders {
            let number = Channel.firstClean + decoder
            ends.clean.append(try channel(number, roles.tail, decoder, limits.latents))
        }
        if layout == .blocks {
            let bytes = limits.latents + 4_096
            ends.results = try channel(Channel.results, roles.tail, roles.head, bytes)
        }
        for source in roles.stages.dropLast() {
            let link = try channel(
                Channel.firstLink + source,
                source,
                source + 1,
                limits.tokens + limits.latents + limits.text
            )
            ends.last = link.receiving ?? ends.last
            ends.next = link.sending ?? ends.next
        }
        return ends
    }

    /// The bytes of this rank's KV cache, if it runs a number of blocks.
    func cacheByteCount(blocks: Int, _ config: WanConfig) -> Int {
        let rows = layout.layout == .blocks ? setup.rowCount : 1
        return 2 * rows * blocks * config.dim * setup.cache.frames * setup.tokensPerFrame
            * setup.dtype.size
    }

    // MARK: - Running

    /// Takes part until the stream ends, on ranks other than 0.
    func serve(_ parts: StagedParts) throws {
        try start(parts)
        try finish()
    }

    /// Starts this rank's stages.
    func start(_ parts: StagedParts) throws {
        if roles.stages.contains(rank) {
            switch layout.layout {
            case .blocks: try startRing(parts)
            case .steps: try startSteps(parts)
            }
        }
        if roles.decoders.contains(rank) { try startDecoder(parts) }
    }

    /// Where rank 0 puts chunks and takes frames from.
    var outside: (chunks: StagePost.Queue, frames: StagePost.Queue) {
        get throws(SwanError) {
            guard let chunks = ends.chunks.sending, let frames = ends.frames.receiving else {
                throw SwanError(.invalidArgument, "rank \(rank) does not read the input")
            }
            return (chunks, frames)
        }
    }

    /// Waits for this rank's threads, and throws what ended them early.
    func finish() throws {
        threads.wait()
        if let failure = threads.failure { throw failure }
    }

    /// Ends the stream on this rank because of an error outside of its threads.
    func abandon(_ error: any Error) {
        do {
            try post.start("swan.abandon") { _ in throw error }
        } catch {
            post.close()
        }
    }

    /// Counts the seconds that a chunk took to encode as work of this rank.
    func note(encoding seconds: Double) { meter.add(other: seconds) }

    /// What ended the stream early, once something did.
    var failure: (any Error)? { threads.failure }

    /// Starts a thread that ends the stream if it fails.
    func startThread(_ name: String, _ body: @escaping @Sendable () throws -> Void) throws {
        try post.start(name) { [budget] _ in
            budget.apply()
            try body()
        }
    }

    // MARK: - Stages

    private func startRing(_ parts: StagedParts) throws {
        let outlets = RingStage.Outlets(
            next: ends.next,
            results: ends.results?.sending,
            clean: ends.clean.compactMap(\.sending)
        )
        try startThread("swan.denoise") { [self] in
            let stage = try RingStage(parts, setup, place: rank - roles.head, outlets, mover, meter)
            guard let chunks = ends.chunks.receiving, let results = ends.results?.receiving else {
                while let message = ends.last?.take(), try stage.handle(message) {}
                return
            }
            let head = RingHead(
                stage,
                setup,
                ranks: roles.stages.count,
                incoming: chunks,
                results: results,
                balance
            )
            try head.run()
        }
    }

    private func startSteps(_ parts: StagedParts) throws {
        let outlets = StepStage.Outlets(
            next: ends.next,
            clean: ends.clean.compactMap(\.sending)
        )
        try startThread("swan.denoise") { [self] in
            let stage = try StepStage(parts, setup, place: rank - roles.head, outlets, mover)
            guard let chunks = ends.chunks.receiving else {
                while let message = ends.last?.take(), try stage.handle(message) {}
                return
            }
            try StepHead(stage, setup, incoming: chunks).run()
        }
    }

    // MARK: - Decoding

    private func startDecoder(_ parts: StagedParts) throws {
        guard let clean = ends.clean.compactMap(\.receiving).first, let vae = parts.vae else {
            throw SwanError(.invalidArgument, "the rank that decodes has no autoencoder")
        }
        // Of ranks that decode together, each has the frames, and one returns them.
        let frames = ends.frames.sending
        let decoding = try DecodeStage(divided(vae), options: options, clock: clock)
        try startThread("swan.decode") { [meter, clock] in
            while let message = clean.take() {
                guard message.kind == .clean else {
                    _ = frames?.put(StageMessage(.end))
                    return
                }
                var mark = ChunkMark(captureTimes: nil, completion: clock.now())
                mark.startsScene = message.mark == 1
                let chunk = try decoding.decode(
                    CleanChunk(latents: message.tensors[0].to(vae.device), mark: mark)
                )
                meter.add(other: chunk.seconds.decode)
                guard let frames else { continue }
                guard frames.put(try StageMessage(chunk, number: message.number)) else { return }
            }
        }
    }

    /// The autoencoder with each of several ranks that decode computing some rows of the pictures.
    private func divided(_ vae: any VideoAutoencoder) throws(SwanError) -> any VideoAutoencoder {
        guard let decoders else { return vae }
        guard let rowwise = vae as? any RowwiseAutoencoder else {
            throw SwanError(
                .invalidRequest,
                "this autoencoder cannot decode a picture on several ranks; use --decode-rank"
            )
        }
        return DividedAutoencoder(rowwise, RankGroups(decoders))
    }
}

extension StageMessage {
    /// The frames of a chunk, [T, H, W, 3], and the seconds that decoding took.
    fileprivate init(_ chunk: StreamedChunk, number: Int) throws(SwanError) {
        self.init(.frames)
        self.number = number
        guard let first = chunk.frames.first else { return }
        let pixels = chunk.frames.flatMap(\.pixels)
        tensors = [
            try Tensor(pixels, [chunk.frames.count, first.height, first.width, 3]),
            try Tensor([chunk.seconds.decode], [1]),
        ]
    }

    /// The frames of a message.
    func decodedFrames() throws(SwanError) -> (frames: [VideoFrame], seconds: Double) {
        guard tensors.count == 2 else { return ([], 0) }
        let (height, width) = (tensors[0].size(1), tensors[0].size(2))
        var frames: [VideoFrame] = []
        for picture in try tensors[0].unbound(0) {
            frames.append(
                try VideoFrame(width: width, height: height, pixels: picture.array(of: UInt8.self))
            )
        }
        return (frames, try tensors[1].item())
    }
}

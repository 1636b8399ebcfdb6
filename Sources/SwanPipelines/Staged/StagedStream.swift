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
        static let clean = 2
        static let frames = 3
        static let firstLink = 4
    }

    let options: StreamOptions
    private let roles: StagedRoles
    private let layout: StagedOptions
    private let parts: StagedParts
    private let setup: StageSetup
    private let rank: Int
    private let post: StagePost
    private let threads = WorkerThreads()
    private let mover: BlockMover
    private let meter: StageMeter
    private let balance: StagedBalance
    private let budget: ComputeBudget
    private let clock: StreamClock
    private let latentBytes, tokenBytes, frameBytes: Int

    /// Joins the ranks of a stream. All ranks call this together.
    init(
        _ world: World,
        _ parts: StagedParts,
        _ roles: StagedRoles,
        _ layout: StagedOptions,
        _ options: StreamOptions,
        _ dtype: DType,
        _ device: Device,
        strides: (spatial: Int, temporal: Int),
        trial: Trial = Trial(),
        clock: StreamClock = .continuous
    ) throws {
        (self.parts, self.roles, self.layout, self.options) = (parts, roles, layout, options)
        self.clock = clock
        let config = parts.transformer.config
        let (height, width) = (options.height / strides.spatial, options.width / strides.spatial)
        setup = StageSetup(
            plan: try DenoisingPlan(options, dtype: dtype, device: device),
            cache: KVCacheOptions(options.configuration),
            tokensPerFrame: config.tokensPerFrame(height: height, width: width),
            dtype: dtype,
            device: device
        )
        if layout.layout == .steps {
            try StepStage.check(setup.plan, ranks: roles.stages.count)
        }
        rank = world.rank
        let all = Array(0..<world.size)
        guard let data = try world.makeGroup(all), let moves = try world.makeGroup(all) else {
            throw SwanError(.invalidArgument, "a rank outside of its own job")
        }
        post = StagePost(
            data,
            aborting: [moves],
            threads: threads,
            rows: setup.stepCount + 1,
            keepAlive: trial.keepAlive
        )
        mover = BlockMover(group: moves, stages: roles.stages, setup: setup)
        meter = StageMeter(
            isOn: layout.schedulesBlocks,
            rowCount: setup.rowCount,
            injection: trial.injection
        )
        balance =
            trial.choice.map { StagedBalance(isOn: true, choice: $0) }
            ?? StagedBalance(isOn: layout.schedulesBlocks)
        let roleCount = (rank == 0 ? 1 : 0) + (roles.stages.contains(rank) ? 1 : 0)
            + (rank == roles.decoder ? 1 : 0)
        budget = ComputeBudget.current.divided(by: roleCount)
        // The longest chunk fills the cache.
        let frames = max(options.configuration.cacheFrames, options.configuration.framesPerBlock) + 1
        let rows = setup.stepCount
        latentBytes = rows * frames * height * width * config.inDim * dtype.size
        tokenBytes = rows * frames * setup.tokensPerFrame * config.dim * dtype.size
        let pixels =
            (options.outputHeight ?? options.height) * (options.outputWidth ?? options.width)
        frameBytes = 3 * pixels * frames * strides.temporal + 64
    }

    /// The bytes of this rank's KV cache, at first.
    var cacheByteCount: Int {
        let rows = layout.layout == .blocks ? setup.rowCount : 1
        let config = parts.transformer.config
        return 2 * rows * parts.transformer.backbone.blocks.count * config.dim
            * setup.cache.frames * setup.tokensPerFrame * setup.dtype.size
    }

    // MARK: - Running

    /// Takes part until the stream ends, on ranks other than 0.
    func serve() throws {
        _ = try start()
        try finish()
    }

    /// Starts this rank's threads and returns the ends that rank 0 uses.
    func start() throws -> (chunks: StagePost.Queue?, frames: StagePost.Queue?) {
        // A message to or from the autoencoder is one chunk.
        let chunks = try post.open(
            Channel.chunks,
            from: 0,
            to: roles.head,
            mostBytes: latentBytes + textBytes
        )
        let clean = try post.open(
            Channel.clean,
            from: roles.tail,
            to: roles.decoder,
            mostBytes: latentBytes
        )
        let frames = try post.open(
            Channel.frames,
            from: roles.decoder,
            to: 0,
            mostBytes: frameBytes
        )
        if roles.stages.contains(rank) {
            try startStage(chunks: chunks.receiving, clean: clean.sending)
        }
        if rank == roles.decoder { try startDecoder(clean.receiving, frames.sending) }
        return (chunks.sending, frames.receiving)
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

    /// The seconds that chunks take to encode count as work of this rank, if it also runs blocks.
    func note(encoding seconds: Double) { meter.add(other: seconds) }

    /// Starts a thread that ends the stream if it fails.
    func startThread(_ name: String, _ body: @escaping @Sendable () throws -> Void) throws {
        try post.start(name) { [budget] _ in
            budget.apply()
            try body()
        }
    }

    private var textBytes: Int {
        let config = parts.transformer.config
        return config.textLen * config.textDim * 4
    }

    // MARK: - Stages

    private func startStage(chunks: StagePost.Queue?, clean: StagePost.Queue?) throws {
        switch layout.layout {
        case .blocks: try startRing(chunks, clean)
        case .steps: try startSteps(chunks, clean)
        }
    }

    /// Opens the channels from each rank to the next, and returns this rank's ends.
    private func openLinks() throws -> (last: StagePost.Queue?, next: StagePost.Queue?) {
        var (last, next): (StagePost.Queue?, StagePost.Queue?)
        for source in roles.stages.dropLast() {
            let ends = try post.open(
                Channel.firstLink + source,
                from: source,
                to: source + 1,
                mostBytes: tokenBytes + latentBytes + textBytes
            )
            last = ends.receiving ?? last
            next = ends.sending ?? next
        }
        return (last, next)
    }

    private func startRing(_ chunks: StagePost.Queue?, _ clean: StagePost.Queue?) throws {
        let ranks = roles.stages.count
        let (last, next) = try openLinks()
        // The first rank may wait for a moved block while all forwards return.
        let results = try post.open(
            Channel.results,
            from: roles.tail,
            to: roles.head,
            capacity: ranks + 4,
            mostBytes: latentBytes + 64 * ranks
        )
        let outlets = RingStage.Outlets(
            next: next,
            results: rank == roles.tail ? results.sending : nil,
            clean: clean
        )
        try startThread("swan.denoise") { [self] in
            let stage = try RingStage(parts, setup, place: rank - roles.head, outlets, mover, meter)
            if let chunks, let results = results.receiving {
                let head = RingHead(
                    stage,
                    setup,
                    ranks: ranks,
                    incoming: chunks,
                    results: results,
                    balance
                )
                return try head.run()
            }
            while let message = last?.take(), try stage.handle(message) {}
        }
    }

    private func startSteps(_ chunks: StagePost.Queue?, _ clean: StagePost.Queue?) throws {
        let (last, next) = try openLinks()
        let outlets = StepStage.Outlets(next: next, clean: clean)
        try startThread("swan.denoise") { [self] in
            let stage = try StepStage(parts, setup, place: rank - roles.head, outlets, mover)
            if let chunks { return try StepHead(stage, setup, incoming: chunks).run() }
            while let message = last?.take(), try stage.handle(message) {}
        }
    }

    // MARK: - Decoding

    private func startDecoder(_ clean: StagePost.Queue?, _ frames: StagePost.Queue?) throws {
        guard let clean, let frames, let vae = parts.vae else {
            throw SwanError(.invalidArgument, "the rank that decodes has no autoencoder")
        }
        let decoding = try DecodeStage(vae, options: options, clock: clock)
        try startThread("swan.decode") { [meter, clock] in
            while let message = clean.take() {
                guard message.kind == .clean else {
                    _ = frames.put(StageMessage(.end))
                    return
                }
                let mark = ChunkMark(captureTimes: nil, completion: clock.now())
                let chunk = try decoding.decode(
                    CleanChunk(latents: message.tensors[0].to(vae.device), mark: mark)
                )
                meter.add(other: chunk.seconds.decode)
                guard frames.put(try StageMessage(chunk, number: message.number)) else { return }
            }
        }
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

import SwanCheckpoints
import SwanDistributed
import SwanSystem
import SwanThreads
import Synchronization
package import Torch

/// The ranks of a server, which run one session's stream at a time, one after the other.
///
/// Rank 0 tells the others when a stream begins, and with which terms; each then makes its part of a
/// `StagedStream`. Between sessions the ranks keep what they have loaded.
package final class StagedSessions: Sendable {
    /// The model with this rank's blocks; nil on ranks other than 0.
    package let model: StreamModel?
    /// The number of ranks.
    package var size: Int { ranks.world.size }
    /// The ranks that run the transformer.
    var stageCount: Int { ranks.roles.stages.count }

    private let ranks: StagedRanks
    private let base: StreamOptions
    private let sizes: StagedSizes
    private let groups: StagedGroups
    private let parts: StagedParts
    private let threads = WorkerThreads()
    /// Rank 0's orders: on rank 0 one queue for each other rank, on those their own.
    private let orders: [StagePost.Queue]
    /// What the others answer, in the same way.
    private let answers: [StagePost.Queue]

    private enum Channel {
        static let firstOrder = 30_000
        static let firstAnswer = 40_000
        /// The seconds after which a silent rank says that it is still there.
        static let keepAlive = 1.0
        static let mostBytes = 65_536
    }

    /// Joins the ranks and loads this one's part; on rank 0, waits until all have done so. All ranks
    /// call this together.
    ///
    /// - Throws: `invalidRequest` for a layout in which a session's steps cannot change.
    package convenience init(
        _ ranks: StagedRanks,
        _ checkpoint: StreamCheckpoint,
        _ dtype: DType,
        _ device: Device
    ) throws {
        let configs = checkpoint.configs
        let sizes = StagedSizes(
            config: configs.transformer,
            strides: (configs.spatialStride, configs.temporalStride),
            dtype: dtype,
            device: device
        )
        try self.init(ranks, checkpoint.configuration, sizes) {
            try ranks.load(checkpoint, dtype, device)
        }
    }

    /// Joins the ranks and loads this one's part with `load`.
    init(
        _ ranks: StagedRanks,
        _ configuration: StreamConfiguration,
        _ sizes: StagedSizes,
        load: () throws -> StagedParts
    ) throws {
        guard ranks.options.layout == .blocks else {
            throw SwanError(
                .invalidRequest,
                "a session's steps may change, so a server's ranks cannot divide them; use "
                    + "--layout blocks"
            )
        }
        (self.ranks, self.sizes) = (ranks, sizes)
        base = StreamOptions(configuration)
        let (world, roles) = (ranks.world, ranks.roles)
        groups = try StagedGroups(world, decoders: roles.decoders)
        let post = StagePost(
            groups.data,
            aborting: groups.others,
            threads: threads,
            announce: groups.announce,
            rows: 0,
            keepAlive: Channel.keepAlive
        )
        (orders, answers) = try Self.open(post, size: world.size)
        parts = try load()
        model = parts.model
        for queue in answers {
            let works =
                world.rank == 0
                ? queue.take()?.kind == .ready : queue.put(StageMessage(.ready))
            guard works else { throw lost }
        }
    }

    private static func open(
        _ post: StagePost,
        size: Int
    ) throws(SwanError) -> (orders: [StagePost.Queue], answers: [StagePost.Queue]) {
        var orders: [StagePost.Queue] = []
        var answers: [StagePost.Queue] = []
        for rank in 1..<size {
            let order = try post.open(
                Channel.firstOrder + rank,
                from: 0,
                to: rank,
                capacity: 4,
                mostBytes: Channel.mostBytes
            )
            let answer = try post.open(
                Channel.firstAnswer + rank,
                from: rank,
                to: 0,
                capacity: 4,
                mostBytes: Channel.mostBytes
            )
            orders += [order.sending, order.receiving].compactMap { $0 }
            answers += [answer.sending, answer.receiving].compactMap { $0 }
        }
        return (orders, answers)
    }

    /// Why the ranks are lost.
    private var lost: any Error {
        threads.failure ?? SwanError(.peerFailed, "the connection to the other ranks has ended")
    }

    /// The reason to give for an error, which is that of the rank that failed first. The others are told.
    func reason(of error: any Error) -> SwanError {
        let reason = ranks.world.reason(of: error)
        return reason as? SwanError ?? SwanError(.peerFailed, "\(reason)", cause: reason)
    }

    // MARK: - Ranks other than 0

    /// Runs this rank's part of one session after the other, until rank 0 ends the job.
    package func serve() throws {
        guard let own = orders.first else { return }
        while let order = own.take(), order.kind == .plan {
            var options = base
            try StagedTerms(order).apply(to: &options)
            try stream(options).serve(parts)
        }
        if threads.failure == nil { _ = answers.first?.put(StageMessage(.end)) }
        threads.wait()
        if let failure = threads.failure { throw failure }
    }

    private func stream(_ options: StreamOptions) throws -> StagedStream {
        try StagedStream(
            groups,
            ranks.roles,
            ranks.options,
            sizes,
            options,
            mostSteps: base.configuration.steps.count,
            waiting: 2
        )
    }

    // MARK: - Rank 0

    /// Begins a session's stream on all ranks; none may be running.
    ///
    /// - Parameter deliver: Called with each chunk, on a thread of the stream.
    func begin(
        _ options: StreamOptions,
        deliver: @escaping @Sendable (StagedSession.Decoded) -> Void
    ) throws -> StagedSession {
        let order = try StagedTerms(options).message()
        for queue in orders { guard queue.put(order) else { throw lost } }
        let staged = try stream(options)
        let session = try StagedSession(staged, options)
        try staged.start(parts)
        try session.start(deliver)
        return session
    }

    /// Calls `body` when another rank is lost, unless the job ends before.
    func watch(_ body: @escaping @Sendable (any Error) -> Void) throws(SwanError) {
        guard let first = answers.first else { return }
        try startThread("swan.ranks") { [self] in
            if first.take()?.kind != .end { body(lost) }
        }
    }

    /// Ends the job of the other ranks; no session may be running.
    func close() {
        for queue in orders { _ = queue.put(StageMessage(.end)) }
        threads.wait()
    }
}

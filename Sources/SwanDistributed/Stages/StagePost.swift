import Foundation
package import SwanSystem
package import SwanThreads
package import Torch

/// The messages that one rank of a pipeline sends and receives, each channel on a thread of its own.
///
/// A channel is a queue: its thread takes messages from it and sends them, or receives them and puts
/// them there. At most two messages of a channel are under way: one being sent, one waiting.
package final class StagePost: Sendable {
    /// A queue of messages.
    package typealias Queue = BoundedQueue<StageMessage>

    /// The ends of a channel on this rank; nil where it has none.
    package struct Ends: Sendable {
        /// Where messages to be sent are put.
        package let sending: Queue?
        /// Where received messages are taken from.
        package let receiving: Queue?
    }

    /// The group of all ranks.
    private let group: ProcessGroup
    private let others: [ProcessGroup]
    private let announce: @Sendable (any Error) -> Void
    private let threads: WorkerThreads
    private let header: StageHeader
    private let keepAlive: Double
    private let queues = Queues()

    /// Creates a post.
    ///
    /// - Parameters:
    ///   - others: Groups that threads of this rank also use; they end with the channels.
    ///   - threads: The threads of the pipeline on this rank. When one fails, all channels end.
    ///   - announce: Tells the other ranks why, before they lose this rank's connections.
    ///   - rows: The most rows of a message.
    ///   - keepAlive: The seconds after which a silent channel says that it is still there; less
    ///     than the group's deadline.
    package init(
        _ group: ProcessGroup,
        aborting others: [ProcessGroup] = [],
        threads: WorkerThreads,
        announce: @escaping @Sendable (any Error) -> Void,
        rows: Int,
        keepAlive: Double = 5
    ) {
        (self.group, self.others, self.threads) = (group, others, threads)
        self.announce = announce
        header = StageHeader(rows: rows)
        self.keepAlive = keepAlive
    }

    /// Opens a channel between two ranks. All ranks open all channels, in any order.
    ///
    /// - Parameters:
    ///   - number: The channel's number, which no other has.
    ///   - capacity: The most received messages that wait.
    ///   - mostBytes: The most bytes of a message; a peer that announces more is not believed.
    package func open(
        _ number: Int,
        from source: Int,
        to target: Int,
        capacity: Int = 1,
        mostBytes: Int
    ) throws(SwanError) -> Ends {
        if source == target {
            guard source == group.rank else { return Ends(sending: nil, receiving: nil) }
            let queue = queues.make(capacity)
            return Ends(sending: queue, receiving: queue)
        }
        var (sending, receiving): (Queue?, Queue?)
        if source == group.rank {
            let queue = queues.make(1)
            sending = queue
            try start("swan.send") { post in try post.send(from: queue, to: target, number) }
        }
        if target == group.rank {
            let queue = queues.make(capacity)
            receiving = queue
            try start("swan.receive") { post in
                try post.receive(into: queue, from: source, number, mostBytes)
            }
        }
        return Ends(sending: sending, receiving: receiving)
    }

    /// Starts a thread that ends the pipeline on this rank if it fails.
    package func start(
        _ name: String,
        _ body: @escaping @Sendable (StagePost) throws -> Void
    ) throws(SwanError) {
        try threads.start(name, atEnd: { [self] in endIfFailed() }) { [self] in try body(self) }
    }

    /// Ends all channels if a thread has failed.
    private func endIfFailed() {
        guard let failure = threads.failure else { return }
        close()
        announce(failure)
        for group in [group] + others { group.abort() }
    }

    /// Closes all queues.
    package func close() { queues.close() }

    // MARK: - Threads

    private func send(from queue: Queue, to rank: Int, _ channel: Int) throws(SwanError) {
        while true {
            guard let message = queue.take(within: keepAlive) else {
                if queue.isDone { return }
                try send(StageMessage(.idle), to: rank, channel)
                continue
            }
            try send(message, to: rank, channel)
            if message.kind == .end { return }
        }
    }

    private func send(
        _ message: StageMessage,
        to rank: Int,
        _ channel: Int
    ) throws(SwanError) {
        var message = message
        for index in message.tensors.indices {
            message.tensors[index] = try message.tensors[index].to(.cpu).contiguous()
        }
        let words = try header.encoded(message)
        var works = [
            try group.startSend(Tensor(words, [words.count]), to: rank, tag: Self.tag(channel, 0))
        ]
        for (index, tensor) in message.tensors.enumerated() where tensor.count > 0 {
            works.append(
                try group.startSend(tensor, to: rank, tag: Self.tag(channel, index + 1))
            )
        }
        for work in works { try work.wait() }
    }

    private func receive(
        into queue: Queue,
        from rank: Int,
        _ channel: Int,
        _ mostBytes: Int
    ) throws(SwanError) {
        while true {
            let words = try Tensor.empty([header.words], .int64)
            try group.startReceive(words, from: rank, tag: Self.tag(channel, 0)).wait()
            var (message, extents) = try header.decoded(
                words.array(of: Int.self),
                mostBytes: mostBytes
            )
            if message.kind == .idle { continue }
            var works: [ProcessWork] = []
            for (index, extent) in extents.enumerated() {
                let tensor = try Tensor.empty(extent.shape, extent.dtype)
                message.tensors.append(tensor)
                guard tensor.count > 0 else { continue }
                works.append(
                    try group.startReceive(tensor, from: rank, tag: Self.tag(channel, index + 1))
                )
            }
            for work in works { try work.wait() }
            guard queue.put(message), message.kind != .end else { return }
        }
    }

    private static func tag(_ channel: Int, _ part: Int) -> Int { 16 * (channel + 1) + part }
}

/// The queues of a rank.
private final class Queues: @unchecked Sendable {
    private let lock = NSLock()
    private var all: [StagePost.Queue] = []
    private var isClosed = false

    func make(_ capacity: Int) -> StagePost.Queue {
        let queue = StagePost.Queue(capacity: capacity)
        lock.withLock {
            all.append(queue)
            if isClosed { queue.close(dropping: true) }
        }
        return queue
    }

    func close() {
        let queues = lock.withLock {
            isClosed = true
            return all
        }
        for queue in queues { queue.close(dropping: true) }
    }
}

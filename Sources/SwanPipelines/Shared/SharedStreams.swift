import Foundation
import SwanCheckpoints
import SwanModels
package import SwanSystem
package import SwanText
import SwanThreads
package import Torch

/// Streams of several users on one model.
///
/// Each stream has its own prompt, seed, steps, noise, clock and KV cache rows, and joins and leaves
/// at a chunk boundary. Three threads serve all of them: one encodes, one denoises, one decodes; each
/// takes the chunk with the earliest deadline. Denoising steps of streams of one size share forward
/// passes, so a stream gets what it would get alone, to rounding.
package final class SharedStreams: @unchecked Sendable {
    /// The model.
    package let model: StreamModel
    let clock: StreamClock
    let engine: Engine
    let budget: ComputeBudget
    let forward: SharedDenoiser.Forward
    /// The ranks that run one stream at a time; nil for this process alone.
    let ranks: StagedSessions?
    let threads = WorkerThreads()

    // Everything below is protected by `condition`.
    let condition = NSCondition()
    var streams: [Int: SharedStreamState] = [:]
    var capacity: StreamCapacity
    private var nextID = 0
    var isOpen = true
    /// Whether a rank has failed, and who is told.
    var hasLostRanks = false
    var whenLost: (@Sendable (SwanError) -> Void)?

    /// Starts the threads of an empty host.
    ///
    /// - Parameters:
    ///   - engine: What makes the frames.
    ///   - budget: The CPU resources that all streams may use together.
    ///   - overcommits: Whether streams may join although others then miss their rate.
    package convenience init(
        _ model: StreamModel,
        engine: Engine = .model,
        budget: ComputeBudget = .current,
        clock: StreamClock = .continuous,
        overcommits: Bool = false
    ) throws(SwanError) {
        try self.init(model, engine: engine, budget: budget, clock: clock) {
            works,
            _,
            cache throws(SwanError) in
            try model.transformer(works, cache: &cache)
        }
        condition.withLock { capacity.overcommits = overcommits }
    }

    /// Starts the threads of an empty host whose streams run over ranks, one at a time. The model is
    /// that of rank 0.
    package convenience init(
        _ model: StreamModel,
        over ranks: StagedSessions,
        budget: ComputeBudget = .current,
        clock: StreamClock = .continuous
    ) throws(SwanError) {
        try self.init(model, budget: budget, clock: clock, over: ranks) {
            _,
            _,
            _ throws(SwanError) in
            throw SwanError(.invalidArgument, "the ranks run the transformer")
        }
    }

    /// Starts the threads of an empty host whose passes are those of `forward`, or of ranks.
    init(
        _ model: StreamModel,
        engine: Engine = .model,
        budget: ComputeBudget = .current,
        clock: StreamClock = .continuous,
        over ranks: StagedSessions? = nil,
        forward: @escaping SharedDenoiser.Forward
    ) throws(SwanError) {
        self.model = model
        self.engine = engine
        self.budget = budget
        self.clock = clock
        self.forward = forward
        self.ranks = ranks
        capacity = StreamCapacity(model, budget)
        try threads.start("swan.text") { [self] in prepareChanges() }
        try threads.start("swan.encode") { [self] in encodeChunks() }
        if let ranks {
            try threads.start("swan.denoise") { [self] in denoise(over: ranks) }
            return
        }
        try threads.start("swan.denoise") { [self] in denoise() }
        try threads.start("swan.decode") { [self] in decodeChunks() }
    }

    /// The number of frames of a chunk; a stream's first chunk may have one more.
    package var framesPerChunk: Int { model.framesPerChunk }

    /// The number of streams.
    package var count: Int { condition.withLock { streams.count } }

    /// Ends all streams and waits for the threads.
    package func close() {
        endAll(nil)
        threads.wait()
    }

    /// Ends all streams with an error, and the threads when they have done what they do.
    func fail(_ error: SwanError) { endAll(error) }

    private func endAll(_ error: SwanError?) {
        let ended: [SharedStream] = condition.withLock {
            isOpen = false
            let all = streams.values.map(\.stream)
            streams = [:]
            condition.broadcast()
            return all
        }
        for stream in ended { stream.report(.ended(error)) }
    }

    // MARK: - Streams

    /// Adds a stream, which begins with its first frames.
    ///
    /// - Parameter report: Called on the host's threads, in order; must not block.
    /// - Returns: The stream, and what had to be changed in its prompt.
    /// - Throws: `CapacityError` if other streams would miss their rate.
    package func join(
        _ request: SharedStreamRequest,
        report: @escaping @Sendable (SharedStreamReport) -> Void
    ) throws -> (stream: SharedStream, issues: [PromptIssue]) {
        let options = request.options
        try model.check(height: options.height, width: options.width)
        if request.generates, model.needsInput {
            throw SwanError(
                .invalidRequest,
                "this model restyles videos and cannot generate from a prompt alone; send frames"
            )
        }
        let demand = StreamDemand(options, framesPerSecond: request.framesPerSecond)
        try requireCapacity(for: demand)
        let half = budget.divided(by: 2)
        let (embeddings, issues) = try half.run {
            try inference { try model.embeddings(of: request.prompts) }
        }
        let id = condition.withLock {
            nextID += 1
            return nextID
        }
        let stream = SharedStream(id: id, self, request, report: report)
        let state = try half.run {
            try inference { try SharedStreamState(stream, model, embeddings, request, clock) }
        }
        try condition.withLock {
            guard isOpen else { throw SwanError(.interrupted, "the server is shutting down") }
            // Another stream may have joined meanwhile.
            try requireRoom(for: demand)
            streams[id] = state
        }
        return (stream, issues)
    }

    func put(_ frame: SharedFrame, into stream: SharedStream) -> Bool {
        condition.withLock {
            guard streams[stream.id]?.isFinishing == false else { return false }
            streams[stream.id]?.add(frame)
            condition.broadcast()
            return true
        }
    }

    func generate(_ stream: SharedStream) {
        update(stream) { state in
            state.isChunkWanted = true
            state.waiting = state.waiting ?? .now
        }
    }

    func offer(_ frame: SharedFrame, to stream: SharedStream) -> SharedStream.Offer {
        condition.withLock {
            guard let state = streams[stream.id], !state.isFinishing else { return .ended }
            guard state.hasRoom else { return .full }
            streams[stream.id]?.add(frame)
            condition.broadcast()
            return .taken
        }
    }

    func change(_ stream: SharedStream, _ change: StreamChange) {
        do {
            try check(change, of: stream)
        } catch {
            stream.report(.refused(event: change.event, error))
            return
        }
        update(stream) { state in
            if state.requested == nil {
                state.requested = change
            } else {
                state.requested?.merge(change)
            }
        }
    }

    func finish(_ stream: SharedStream) {
        update(stream) { state in
            state.isFinishing = true
            state.waiting = state.waiting ?? .now
        }
    }

    func leave(_ stream: SharedStream) { end(stream, nil) }

    func counts(of stream: SharedStream) -> (received: Int, dropped: Int, returned: Int) {
        condition.withLock {
            let state = streams[stream.id]
            return (state?.received ?? 0, state?.dropped ?? 0, state?.returned ?? 0)
        }
    }

    func options(of stream: SharedStream) -> StreamOptions {
        condition.withLock { streams[stream.id]?.options ?? stream.options }
    }

    /// Whether all complete chunks and all changes that a stream was given are on their way.
    func isIdle(_ stream: SharedStream) -> Bool {
        condition.withLock {
            guard let state = streams[stream.id] else { return true }
            let isWaiting =
                state.stream.generates
                ? state.isChunkWanted : state.inbox.count >= state.framesNeeded
            return !isWaiting && state.noised == nil && state.requested == nil
                && !state.isEncoding && !state.isPreparing
        }
    }

    func end(_ stream: SharedStream, _ error: (any Error)?) {
        let wasThere = condition.withLock {
            defer { condition.broadcast() }
            return streams.removeValue(forKey: stream.id) != nil
        }
        if wasThere { stream.report(.ended(error)) }
    }

    /// Waits for a stream that `isReady` and passes the one with the earliest deadline to `take`.
    ///
    /// - Parameter idle: What to do for a stream while none is ready; nil for nothing.
    /// - Returns: nil when the host is closed.
    func next<Job>(
        where isReady: (SharedStreamState) -> Bool,
        due: (SharedStreamState) -> ContinuousClock.Instant,
        idle: (SharedStreamState) -> Job? = { _ in nil },
        take: (inout SharedStreamState) -> Job
    ) -> Job? {
        condition.withLock {
            while isOpen {
                let ready = streams.values.filter(isReady)
                if let first = ready.min(by: { due($0) < due($1) }),
                    var state = streams[first.stream.id]
                {
                    let job = take(&state)
                    streams[state.stream.id] = state
                    return job
                }
                if let job = streams.values.lazy.compactMap(idle).first { return job }
                condition.wait()
            }
            return nil
        }
    }

    func update(_ stream: SharedStream, _ body: (inout SharedStreamState) -> Void) {
        condition.withLock {
            guard var state = streams[stream.id] else { return }
            body(&state)
            streams[stream.id] = state
            condition.broadcast()
        }
    }
}

import SwanCheckpoints
import SwanMedia
import SwanModels
import SwanSystem
import SwanText
import Torch

/// One of the streams that share a model; see `SharedStreams`.
///
/// Frames are dropped before any work is done on them: while the stream is busy, only the newest
/// frames of a chunk are kept.
package final class SharedStream: Sendable {
    /// The number of the stream, unique in its `SharedStreams`.
    package let id: Int
    /// The stream's options when it joined.
    package let options: StreamOptions
    /// The time that a chunk of frames lasts at the sender's rate, in seconds.
    package let chunkSeconds: Double
    let report: @Sendable (SharedStreamReport) -> Void
    private let host: SharedStreams

    init(
        id: Int,
        _ host: SharedStreams,
        options: StreamOptions,
        framesPerSecond: Double,
        report: @escaping @Sendable (SharedStreamReport) -> Void
    ) {
        self.id = id
        self.host = host
        self.options = options
        self.report = report
        let frames = host.model.vae.temporalStride * options.configuration.framesPerBlock
        chunkSeconds = Double(frames) / framesPerSecond
    }

    /// Adds a frame. If the stream is busy, the oldest waiting frame is dropped.
    ///
    /// - Returns: `false` if the stream has ended.
    @discardableResult
    package func put(_ frame: SharedFrame) -> Bool { host.put(frame, into: self) }

    /// What became of a frame that was offered.
    package enum Offer: Sendable {
        /// The stream has it.
        case taken
        /// A chunk of frames is waiting already.
        case full
        /// The stream has ended.
        case ended
    }

    /// Adds a frame unless one would be dropped for it.
    package func offer(_ frame: SharedFrame) -> Offer { host.offer(frame, to: self) }

    /// Changes settings from the next chunk on. Of changes that wait, the latest wins.
    package func change(_ change: StreamChange) { host.change(self, change) }

    /// Restyles the frames that are left, without dropping any, and ends the stream.
    package func finish() { host.finish(self) }

    /// Ends the stream at once; chunks in flight are dropped.
    package func leave() { host.leave(self) }

    /// The frames that came in, that were dropped before any work, and that came out.
    package var counts: (received: Int, dropped: Int, returned: Int) { host.counts(of: self) }
}

/// What the host keeps about a stream; protected by the host's lock.
struct SharedStreamState {
    let stream: SharedStream
    /// The options with all changes so far.
    var options: StreamOptions
    /// The stages with the stream's past; new ones after a reset.
    var stages: SharedStages
    /// The prompts of the chunks.
    var mix: PromptMix
    /// The index of the next chunk, and the newest change that shapes it.
    var chunks = 0, event: UInt32
    /// The number of frames that the next chunk needs, and that every later one does.
    var framesNeeded: Int
    let framesPerChunk: Int
    /// Whether the denoiser forgets the past before the next chunk.
    var isReset = false
    /// Frames that wait for a chunk, oldest first.
    var inbox: [SharedFrame] = []
    /// Frames that are in a chunk, in the order in which they come out.
    var underway: [SharedFrame] = []
    /// A chunk that waits for the denoiser.
    var noised: TaggedChunk?
    /// Chunks that wait for the decoder.
    var clean: [(chunk: CleanChunk, tag: ChunkTag)] = []
    /// A change whose prompts are not encoded yet.
    var requested: StreamChange?
    /// A change that the next chunk applies.
    var prepared: PreparedChange?
    /// Whether no more frames will come, and the last chunk is on its way.
    var isFinishing = false, isEncoded = false
    /// Whether the denoiser has returned the last chunk.
    var isDrained = false
    /// Whether a stage works on it.
    var isPreparing = false, isEncoding = false, isDecoding = false
    var received = 0, dropped = 0, returned = 0

    init(
        _ stream: SharedStream,
        _ model: StreamModel,
        _ embeddings: Tensor,
        event: UInt32,
        _ clock: StreamClock
    ) throws {
        self.stream = stream
        self.event = event
        options = stream.options
        mix = PromptMix(embeddings)
        let first = try mix.next(model.transformer).text
        stages = try SharedStages(model, options, first, clock)
        framesNeeded = stages.encoding.framesNeeded
        framesPerChunk = stages.encoding.framesPerChunk
    }

    /// When the next chunk should be done: a chunk's time after its first frame.
    var deadline: ContinuousClock.Instant {
        let start = clean.first?.tag.arrival ?? noised?.tag.arrival ?? inbox.first?.arrival ?? .now
        return start + .seconds(stream.chunkSeconds)
    }

    /// Whether the encoder may take frames: for a chunk, or the last ones.
    var canEncode: Bool {
        guard !isEncoding, noised == nil, !isEncoded else { return false }
        return inbox.count >= framesNeeded || isFinishing
    }

    /// Whether the denoiser may take a chunk: at most one of its results waits for the decoder.
    var canDenoise: Bool { clean.count < 2 }

    /// Whether the decoder has something to do: a chunk, or the end of the stream.
    var canDecode: Bool { !isDecoding && (!clean.isEmpty || isDrained) }

    /// Adds a frame; the oldest one is dropped if a chunk of frames is waiting.
    mutating func add(_ frame: SharedFrame) {
        received += 1
        inbox.append(frame)
        let most = max(framesNeeded, framesPerChunk)
        if inbox.count > most {
            dropped += inbox.count - most
            inbox.removeFirst(inbox.count - most)
        }
    }

    /// Whether the next chunk still needs a frame, so that none is dropped for it.
    var hasRoom: Bool { inbox.count < framesNeeded }

    /// Takes over what encoding a chunk changed.
    mutating func adopt(_ encoded: SharedStreamState) {
        options = encoded.options
        stages = encoded.stages
        mix = encoded.mix
        chunks = encoded.chunks
        event = encoded.event
        isReset = encoded.isReset
        framesNeeded = encoded.framesNeeded
    }
}

/// The stages of a stream that are not shared.
final class SharedStages: Sendable {
    let encoding: EncodeStage
    let decoding: DecodeStage
    let prompts: StreamPrompts

    init(
        _ model: StreamModel,
        _ options: StreamOptions,
        _ text: TextConditioning,
        _ clock: StreamClock
    ) throws {
        prompts = StreamPrompts(text)
        encoding = try EncodeStage(model, options: options, prompts: prompts, clock: clock)
        decoding = try DecodeStage(model, options: options, clock: clock)
    }
}

/// A chunk's identity outside the networks.
struct ChunkTag: Sendable {
    let stages: SharedStages
    let index: Int
    let event: UInt32
    /// When the first of its frames arrived.
    let arrival: ContinuousClock.Instant
}

/// A chunk for the denoiser, with the changes that it is the first to have.
struct TaggedChunk: Sendable {
    let noised: NoisedChunk
    let tag: ChunkTag
    /// The options that it is denoised with.
    let options: StreamOptions
    /// Whether the stream's past is forgotten before it.
    let resets: Bool
}

/// A change with its prompts encoded.
struct PreparedChange: Sendable {
    var change: StreamChange
    /// The mixed embeddings [1, T, textDim] of new prompts.
    var embeddings: Tensor?
    var issues: [PromptIssue] = []

    mutating func merge(_ newer: PreparedChange) {
        change.merge(newer.change)
        if let embeddings = newer.embeddings {
            self.embeddings = embeddings
            issues = newer.issues
        }
    }
}

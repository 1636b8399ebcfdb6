import SwanCheckpoints
import SwanMedia
import SwanModels
import SwanSystem
import SwanText
import Torch

/// What the host keeps about a stream; protected by the host's lock.
struct SharedStreamState {
    let stream: SharedStream
    /// The options with all changes so far.
    var options: StreamOptions
    /// The stages with the stream's past; new ones after a reset.
    var stages: SharedStages
    /// The prompts of the chunks.
    var mix: PromptMix
    /// How the steps run, and the choice if that is automatic.
    var mode: StepMode
    var automatic = AutomaticSteps()
    /// The index of the next chunk, and the newest change that shapes it.
    var chunks = 0, event: UInt32
    /// The number of frames that the next chunk needs, and that every later one does.
    var framesNeeded: Int
    let framesPerChunk: Int
    /// Whether the denoiser forgets the past before the next chunk.
    var isReset = false
    /// Frames that wait for a chunk, oldest first.
    var inbox: [SharedFrame] = []
    /// Since when frames, a request for a chunk or the end have waited for the encoder, also if frames were
    /// dropped meanwhile: a stream that drops frames does not lose its turn.
    var waiting: ContinuousClock.Instant?
    /// Whether a chunk from noise is wanted, and the number of frames of all those so far.
    var isChunkWanted = false, generated: UInt32 = 0
    /// Frames that are in a chunk, in the order in which they come out.
    var underway: [SharedFrame] = []
    /// A chunk that waits for the denoiser.
    var noised: TaggedChunk?
    /// The number of chunks that other ranks have.
    var underwayChunks = 0
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
    /// The share of late chunks, of which the last ten or so count most, and until when it holds.
    private var lateShare = 0.0
    private var lateUntil: ContinuousClock.Instant?

    init(
        _ stream: SharedStream,
        _ model: StreamModel,
        _ embeddings: Tensor,
        _ request: SharedStreamRequest,
        _ clock: StreamClock
    ) throws {
        self.stream = stream
        (event, mode) = (request.event, request.mode)
        options = request.options
        mix = PromptMix(embeddings)
        let first = try mix.next(model.transformer).text
        stages = try SharedStages(model, options, first, clock)
        framesNeeded = stages.encoding.framesNeeded
        framesPerChunk = stages.encoding.framesPerChunk
    }

    /// When the chunk that waits for the encoder is due, and the one that waits for the decoder: a chunk's time
    /// after its first frame.
    var encodingDeadline: ContinuousClock.Instant { deadline(of: waiting) }
    var decodingDeadline: ContinuousClock.Instant {
        deadline(of: clean.first?.tag.arrival ?? waiting)
    }

    func deadline(of arrival: ContinuousClock.Instant?) -> ContinuousClock.Instant {
        (arrival ?? .now) + .seconds(stream.chunkSeconds)
    }

    /// What the stream asks of the model, with the changes that wait.
    var demand: StreamDemand {
        StreamDemand(options, framesPerSecond: stream.framesPerSecond)
            .changed(by: prepared?.change).changed(by: requested)
    }

    /// Whether the encoder may take frames: for a chunk, or the last ones.
    var canEncode: Bool {
        guard !isEncoding, noised == nil, !isEncoded else { return false }
        return isFinishing || (stream.generates ? isChunkWanted : inbox.count >= framesNeeded)
    }

    /// Whether the denoiser may take a chunk: at most one of its results waits for the decoder.
    var canDenoise: Bool { clean.count < 2 }

    /// Whether the decoder has something to do: a chunk, or the end of the stream.
    var canDecode: Bool { !isDecoding && (!clean.isEmpty || isDrained) }

    /// Adds a frame; the oldest one is dropped if a chunk of frames is waiting.
    mutating func add(_ frame: SharedFrame) {
        received += 1
        if inbox.isEmpty { waiting = frame.arrival }
        inbox.append(frame)
        guard stream.dropsFrames else { return }
        let most = max(framesNeeded, framesPerChunk)
        if inbox.count > most {
            dropped += inbox.count - most
            inbox.removeFirst(inbox.count - most)
        }
    }

    /// Whether the next chunk still needs a frame, so that none is dropped for it.
    var hasRoom: Bool { inbox.count < framesNeeded }

    /// Whether a change makes the stream forget its past.
    func beginsAnew(with change: StreamChange) -> Bool {
        let width = change.width ?? options.width
        let height = change.height ?? options.height
        let isResized = (width, height) != (options.width, options.height)
        // Stages without a past still have the old size.
        return isResized || (change.resets && chunks > 0)
    }

    /// The next frame to decode while its chunk is not complete.
    var nextUndecoded: SharedFrame? {
        guard !stream.generates else { return nil }
        return inbox.prefix(framesNeeded).first { !$0.isDecoded }
    }

    /// Removes the frames for the next chunk, fewer at the end of the stream.
    mutating func takeFrames() -> [SharedFrame] {
        let frames = Array(inbox.prefix(framesNeeded))
        inbox.removeFirst(frames.count)
        // A stream that keeps all frames may have many, but is due for only one chunk at a time.
        let next = stream.dropsFrames ? inbox.first?.arrival : inbox.isEmpty ? nil : .now
        waiting = isFinishing ? waiting : next
        isChunkWanted = false
        return frames
    }

    /// The frames of the next chunk from noise: a shot's first latent stands for one frame.
    mutating func nextGenerated(startsShot: Bool) -> [SharedFrame] {
        let stride = stages.encoding.temporalStride
        let count = framesPerChunk - (startsShot || isReset ? stride - 1 : 0)
        let frames = (0..<count).map { index in
            SharedFrame(sequence: generated &+ UInt32(index)) {
                throw SwanError(
                    .invalidArgument,
                    "a frame from noise has no picture before it is made"
                )
            }
        }
        generated &+= UInt32(count)
        received += count
        return frames
    }

    /// Counts a chunk that is done.
    mutating func count(isLate: Bool, latency: Double, at now: ContinuousClock.Instant) {
        lateShare += 0.1 * ((isLate ? 1 : 0) - lateShare)
        lateUntil = now + .seconds(max(5, 3 * latency))
    }

    /// Whether the stream does not keep its rate at present; one that pauses is not late.
    func isLate(at now: ContinuousClock.Instant) -> Bool {
        lateShare > StreamCapacity.lateLimit && lateUntil.map { now < $0 } ?? false
    }

    /// Takes over what encoding a chunk changed.
    mutating func adopt(_ encoded: SharedStreamState) {
        options = encoded.options
        stages = encoded.stages
        mix = encoded.mix
        (mode, automatic, generated) = (
            encoded.mode, encoded.automatic, encoded.generated
        )
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
    let prompts: StreamPrompts<TextConditioning>

    init(
        _ model: StreamModel,
        _ options: StreamOptions,
        _ text: TextConditioning,
        _ clock: StreamClock
    ) throws {
        prompts = StreamPrompts(text)
        encoding = try EncodeStage(model, options: options, prompts: prompts, clock: clock)
        decoding = try DecodeStage(model.vae, options: options, clock: clock)
    }
}

/// A chunk's identity outside the networks.
struct ChunkTag: Sendable {
    let stages: SharedStages
    let index: Int
    let event: UInt32
    /// When the first of its frames arrived.
    let arrival: ContinuousClock.Instant
    /// The seconds from the arrival of its last frame until it is late.
    let allowance: Double
    /// Whether its steps run as rows of a stream batch.
    let usesBatch: Bool
}

/// A chunk for the denoiser, with the changes that it is the first to have.
struct TaggedChunk: Sendable {
    let noised: NoisedChunk
    let tag: ChunkTag
    /// Its text, [1, T, textDim].
    let embeddings: Tensor
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

    /// The report that the change shapes the frames from a chunk on.
    func applied(at chunk: Int) -> SharedStreamReport {
        .applied(event: change.event, chunk: chunk, issues: issues)
    }

    mutating func merge(_ newer: PreparedChange) {
        change.merge(newer.change)
        if let embeddings = newer.embeddings {
            self.embeddings = embeddings
            issues = newer.issues
        }
    }
}

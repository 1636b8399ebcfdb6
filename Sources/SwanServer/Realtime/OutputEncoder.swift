import Foundation
import SwanMedia
import SwanPipelines
import SwanSystem

/// Encodes the restyled frames of a session: for its client as pictures or as H.264, and for those that watch as
/// JPEG.
///
/// A frame of H.264 refers to the one before it. So frames for a client that reads too slowly are dropped before
/// they are encoded, never after.
final class OutputEncoder: @unchecked Sendable {
    /// After so many chunks that lost frames to a slow network, `auto` uses H.264.
    private static let lossesOfSlowNetwork = 2

    private let choice: StartMessage.Output
    private let quality: Int
    /// How many chunks of H.264 may wait when another one comes; nil if a slow client loses none.
    private let waitingChunks: Int?
    private let framesPerSecond: Double
    private let bitsPerSecond: Int?

    // Everything below is protected by `lock`.
    private let lock = NSLock()
    private var video: LiveVideoEncoder?
    private var usesVideo: Bool
    private var needsKeyFrame = true
    /// The client of the last chunk, and its dropped frames by then.
    private weak var client: Outbox?
    private var dropped = 0
    private var losses = 0

    /// Creates an encoder for what a client asked for.
    init(_ start: StartMessage, framesPerSecond: Double) {
        choice = start.output
        quality = start.quality
        waitingChunks =
            switch start.presentation {
            // The last chunk may still be under way; older ones mean that the client cannot keep up.
            case .newest: 1
            case .paced: 2
            case .lossless: nil
            }
        bitsPerSecond = start.bitsPerSecond
        self.framesPerSecond = framesPerSecond
        usesVideo = start.output == .h264
    }

    /// Checks whether frames of a size can be encoded as asked.
    static func check(_ output: StartMessage.Output, width: Int, height: Int) throws(SwanError) {
        guard output == .h264 else { return }
        guard LiveVideoEncoder.isAvailable else {
            throw SwanError(.unsupported, "output: this server cannot encode H.264; use jpeg")
        }
        guard width % 2 == 0, height % 2 == 0 else {
            throw SwanError(
                .unsupported,
                "output: H.264 needs even sides, not \(width)x\(height); use jpeg or another size"
            )
        }
    }

    /// Makes the next frame of H.264 a key frame.
    func requestKeyFrame() { lock.withLock { needsKeyFrame = true } }

    /// Encodes the frames of a chunk and puts them into the outboxes of the client and of those that watch.
    ///
    /// - Parameter keeps: Whether to return the frames as pictures, for a client that is to come back.
    @discardableResult
    func send(
        _ chunk: RestyledChunk,
        to client: Outbox?,
        _ watchers: [Outbox],
        keeps: Bool = false
    ) throws(SwanError) -> [OutputFrame] {
        lock.lock()
        defer { lock.unlock() }
        if let client { follow(client, chunk) }
        if let client, usesVideo { try sendVideo(chunk, to: client) }
        let client = usesVideo ? nil : client
        var frames: [OutputFrame] = []
        // The first frame of a chunk is the one that is latest, so it does not wait for the others.
        for frame in chunk.frames {
            // Nobody may be there at the moment.
            if keeps || client != nil {
                let own = try picture(choice == .png ? .png : .jpeg, frame, chunk)
                client?.put([own])
                if keeps { frames.append(own) }
                if choice != .png {
                    for watcher in watchers { watcher.put([own]) }
                    continue
                }
            }
            guard !watchers.isEmpty else { continue }
            let jpeg = try picture(.jpeg, frame, chunk)
            for watcher in watchers { watcher.put([jpeg]) }
        }
        return frames
    }

    /// Notices a new client, and with `auto` a slow network.
    private func follow(_ new: Outbox, _ chunk: RestyledChunk) {
        let count = new.droppedFrames
        if new !== client {
            (client, losses) = (new, 0)
            needsKeyFrame = true
        } else if count > dropped {
            losses += 1
        }
        dropped = count
        guard choice == .auto, !usesVideo, losses >= Self.lossesOfSlowNetwork,
            let frame = chunk.frames.first?.frame, frame.width % 2 == 0, frame.height % 2 == 0
        else { return }
        usesVideo = LiveVideoEncoder.isAvailable
    }

    // MARK: - Encoding

    private func picture(
        _ codec: FrameHeader.Codec,
        _ frame: RestyledFrame,
        _ chunk: RestyledChunk
    ) throws(SwanError) -> OutputFrame {
        let picture =
            codec == .png ? try frame.frame.png() : try JPEG.encode(frame.frame, quality: quality)
        return OutputFrame(
            header: FrameHeader(codec, frame, chunk),
            picture: picture,
            arrival: frame.arrival
        )
    }

    private func sendVideo(_ chunk: RestyledChunk, to client: Outbox) throws(SwanError) {
        let count = chunk.frames.count
        // The first chunk has one frame more.
        if let waitingChunks, client.frameCount > waitingChunks * (count + 1) {
            client.countDropped(count)
            dropped = client.droppedFrames
            return
        }
        var frames: [OutputFrame] = []
        do throws(SwanError) {
            for frame in chunk.frames { frames.append(try videoFrame(frame, chunk)) }
        } catch {
            // Frames that were encoded before the failure are not sent.
            (video, needsKeyFrame) = (nil, true)
            throw error
        }
        client.put(frames)
    }

    private func videoFrame(
        _ frame: RestyledFrame,
        _ chunk: RestyledChunk
    ) throws(SwanError) -> OutputFrame {
        let encoder = try openVideo(frame.frame)
        let unit = try encoder.encode(frame.frame, asKeyFrame: needsKeyFrame)
        if unit.isKeyFrame { needsKeyFrame = false }
        var header = FrameHeader(.h264, frame, chunk)
        header.isKeyFrame = unit.isKeyFrame
        return OutputFrame(header: header, picture: unit.bytes, arrival: frame.arrival)
    }

    private func openVideo(_ frame: VideoFrame) throws(SwanError) -> LiveVideoEncoder {
        if let video, (video.width, video.height) == (frame.width, frame.height) { return video }
        let rate = LiveVideoEncoder.bitsPerSecond(
            width: frame.width,
            height: frame.height,
            framesPerSecond: framesPerSecond
        )
        let opened = try LiveVideoEncoder(
            width: frame.width,
            height: frame.height,
            framesPerSecond: framesPerSecond,
            bitsPerSecond: bitsPerSecond ?? rate
        )
        (video, needsKeyFrame) = (opened, true)
        return opened
    }
}

extension FrameHeader {
    /// The header of a restyled frame.
    init(_ codec: Codec, _ frame: RestyledFrame, _ chunk: RestyledChunk) {
        self.init(
            codec,
            sequence: frame.sequence,
            captureTime: frame.captureTime,
            width: UInt16(clamping: frame.frame.width),
            height: UInt16(clamping: frame.frame.height)
        )
        (event, self.chunk) = (chunk.event, UInt32(clamping: chunk.index))
    }
}

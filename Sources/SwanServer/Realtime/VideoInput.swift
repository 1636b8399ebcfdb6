import Foundation
import SwanMedia
import SwanSystem

/// The H.264 frames of a session's client.
///
/// They are decoded when the stream takes a frame, together with those that it dropped before, because later
/// frames refer to them. After damage or a gap, the client is asked for a key frame.
final class VideoInput: @unchecked Sendable {
    private struct Unit {
        let number: Int
        let bytes: [UInt8]
        let isKeyFrame: Bool
        /// Whether frames before it were lost.
        let followsGap: Bool
    }

    /// A stream has at most 16 reference frames, so this bounds the decoder's memory to about 50 MB.
    private static let maxPixels = 1_920 * 1_088
    /// The limits of what waits to be decoded.
    private static let (maxUnits, maxBytes) = (256, 16 << 20)
    /// The shortest time between two requests for key frames.
    private static let requestInterval: Duration = .milliseconds(500)

    private let maxPixels: Int

    // Protected by `lock`.
    private let lock = NSLock()
    private var waiting: [Unit] = []
    private var nextNumber = 0
    private var hasGap = false
    private var lastRequest: ContinuousClock.Instant?

    // Protected by `decoding`, so that frames can arrive while one is decoded.
    private let decoding = NSLock()
    private var decoder: LiveVideoDecoder?

    /// Creates an input without frames.
    init(maxPixels: Int) { self.maxPixels = min(maxPixels, Self.maxPixels) }

    /// Adds an access unit and returns what decodes it.
    ///
    /// - Parameter requestKeyFrame: Asks the client for a key frame, at most twice a second.
    func add(
        _ bytes: [UInt8],
        requestKeyFrame: @escaping @Sendable () -> Void
    ) -> @Sendable () throws -> VideoFrame {
        let (number, isFull) = lock.withLock {
            let waitingBytes = waiting.reduce(bytes.count) { $0 + $1.bytes.count }
            let isFull = waiting.count >= Self.maxUnits || waitingBytes > Self.maxBytes
            if isFull {
                waiting = []
                hasGap = true
            }
            let unit = Unit(
                number: nextNumber,
                bytes: bytes,
                isKeyFrame: LiveVideoDecoder.isKeyFrame(bytes),
                followsGap: hasGap
            )
            waiting.append(unit)
            nextNumber += 1
            hasGap = false
            return (unit.number, isFull)
        }
        if isFull, isRequestDue() { requestKeyFrame() }
        return { [self] in
            do {
                return try decode(number)
            } catch {
                if isRequestDue() { requestKeyFrame() }
                throw error
            }
        }
    }

    /// Notes that a frame of the client was not added, as while the session is paused.
    func skip() { lock.withLock { hasGap = true } }

    /// Decodes the frame with a number, and what it refers to.
    private func decode(_ number: Int) throws(SwanError) -> VideoFrame {
        decoding.lock()
        defer { decoding.unlock() }
        let units = take(through: number)
        guard let last = units.last, last.number == number else {
            throw SwanError(.decoder, "H.264: too many frames waited; a key frame is needed")
        }
        for unit in units.dropLast() { try skip(unit) }
        return try openDecoder(for: last).decode(last.bytes)
    }

    /// Decodes a frame that is not needed. If it is damaged, so are those that refer to it.
    private func skip(_ unit: Unit) throws(SwanError) {
        do throws(SwanError) {
            try openDecoder(for: unit).skip(unit.bytes)
        } catch  where error.code == .decoder || error.code == .tooLarge {
            // The decoder refuses all frames up to the next key frame.
        }
    }

    private func openDecoder(for unit: Unit) throws(SwanError) -> LiveVideoDecoder {
        if let decoder, !unit.followsGap { return decoder }
        let opened = try LiveVideoDecoder(maxPixels: maxPixels)
        decoder = opened
        return opened
    }

    /// Removes the frames up to a number and returns those from the last key frame on.
    private func take(through number: Int) -> [Unit] {
        lock.withLock {
            let count = waiting.prefix { $0.number <= number }.count
            let taken = waiting.prefix(count)
            waiting.removeFirst(count)
            let start = taken.lastIndex(where: \.isKeyFrame) ?? taken.startIndex
            return Array(taken[start...])
        }
    }

    private func isRequestDue() -> Bool {
        lock.withLock {
            let now = ContinuousClock.now
            if let lastRequest, now - lastRequest < Self.requestInterval { return false }
            lastRequest = now
            return true
        }
    }
}

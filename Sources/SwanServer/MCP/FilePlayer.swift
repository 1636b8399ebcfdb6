import Foundation
import SwanMedia
import SwanPipelines
import SwanSystem

/// Plays a file into a session: a video at its rate and from the start again at its end, or a picture.
final class FilePlayer: Sendable {
    private enum Source: Sendable {
        case picture(VideoFrame)
        case video(path: String, rate: Rational?)
    }

    private static let pictures: Set<String> = [
        "png", "jpg", "jpeg", "webp", "bmp", "tif", "tiff", "gif",
    ]

    /// The file's size in pixels.
    let width, height: Int
    let framesPerSecond: Double
    private let source: Source

    /// Opens a file.
    ///
    /// - Parameters:
    ///   - framesPerSecond: The rate to play at; nil for that of the video, or `defaultRate` for a picture.
    init(
        _ path: String,
        framesPerSecond: Double?,
        defaultRate: Double,
        maxPixels: Int
    ) throws(SwanError) {
        let kind = path.split(separator: ".").last.map { $0.lowercased() } ?? ""
        if Self.pictures.contains(kind) {
            let picture = try readImage(path, maxPixels: maxPixels)
            source = .picture(picture)
            (width, height) = (picture.width, picture.height)
            self.framesPerSecond = framesPerSecond ?? defaultRate
            return
        }
        let rate = framesPerSecond.flatMap { Rational($0) }
        let info = try VideoReader(path: path, options: .init(maxPixels: maxPixels)).info
        source = .video(path: path, rate: rate)
        (width, height) = (info.width, info.height)
        self.framesPerSecond = min(max(framesPerSecond ?? info.frameRate.value, 1), 120)
    }

    /// Plays on a thread of its own until the session has ended.
    func play(
        into session: LiveSession,
        whenFailed: @escaping @Sendable (SwanError) -> Void
    ) throws(SwanError) {
        try startThread("swan.play", stackBytes: 8 << 20) { [self] in
            var clock = Clock(framesPerSecond)
            do throws(SwanError) {
                switch source {
                case .picture(let picture):
                    while put(picture, session, &clock) {}
                case .video(let path, let rate):
                    while try playOnce(path, rate, session, &clock) {}
                }
            } catch {
                whenFailed(error)
                session.end()
            }
        }
    }

    /// Plays a video to its end; returns whether the session goes on.
    private func playOnce(
        _ path: String,
        _ rate: Rational?,
        _ session: LiveSession,
        _ clock: inout Clock
    ) throws(SwanError) -> Bool {
        let reader = try VideoReader(path: path, options: .init(threads: 1, frameRate: rate))
        let first = clock.frames
        while let frame = try reader.nextFrame() {
            guard put(frame, session, &clock) else { return false }
        }
        guard clock.frames > first else { throw SwanError(.empty, "the video has no frames") }
        return true
    }

    private func put(_ frame: VideoFrame, _ session: LiveSession, _ clock: inout Clock) -> Bool {
        let number = clock.wait()
        return session.put(
            SharedFrame(sequence: UInt32(truncatingIfNeeded: number)) { frame }
        )
    }

    /// Waits for the time of each frame.
    private struct Clock {
        private let interval: Duration
        private var next = ContinuousClock.now
        private(set) var frames = 0

        init(_ framesPerSecond: Double) { interval = .seconds(1 / framesPerSecond) }

        /// Waits until the next frame is due, and returns its number.
        mutating func wait() -> Int {
            let now = ContinuousClock.now
            if next > now { Thread.sleep(forTimeInterval: (next - now) / .seconds(1)) }
            // A reader that was too slow does not hurry afterwards.
            next = max(next, now) + interval
            frames += 1
            return frames - 1
        }
    }
}

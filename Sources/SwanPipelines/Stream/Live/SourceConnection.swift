import Foundation
import Logging
import SwanMedia
import SwanSystem
import Synchronization

/// The way to a source: opens it, opens it again, and says when its frames were captured.
final class SourceConnection: Sendable {
    private struct State {
        var isCancelled = false
        /// The time of the first frame since the last gap, and when it arrived.
        var origin: (seconds: Double, time: ContinuousClock.Instant)?
    }

    let location: MediaLocation
    private let options: VideoSource.Options
    private let cancellation: MediaCancellation
    private let log: Logger
    private let state = Mutex(State())

    init(
        _ location: MediaLocation,
        _ options: VideoSource.Options,
        _ cancellation: MediaCancellation,
        _ log: Logger
    ) {
        self.location = location
        self.options = options
        self.cancellation = cancellation
        self.log = log
    }

    var isCancelled: Bool { state.withLock { $0.isCancelled } }

    /// Ends waiting, and all later reading.
    func cancel() {
        state.withLock { $0.isCancelled = true }
        cancellation.cancel()
    }

    // MARK: - Opening

    /// Whether a source that ends or is lost is opened again.
    var connectsAgain: Bool {
        options.reconnectSeconds != nil && location.isLive && !isCancelled
    }

    /// Opens the source, trying as long as wanted if it is live.
    func open() throws -> VideoReader {
        if case .file(let path) = location {
            let reading = VideoReader.Options(frameRate: options.frameRate)
            return try VideoReader(path: path, options: reading)
        }
        if case .network(let address) = location, address.waitsForSender {
            log.notice("\(location.description): waiting for a sender")
        }
        return try trying { try openLive() }
    }

    /// Opens the source after it ended or was lost.
    func openAgain() throws -> VideoReader {
        log.warning("\(location.description): the connection was lost; connecting again")
        do {
            let reader = try trying { try openLive() }
            state.withLock { $0.origin = nil }
            log.notice("\(location.description): connected again")
            return reader
        } catch let error as SwanError {
            throw SwanError(
                .io,
                "\(error.message); gave up after \(options.reconnectSeconds ?? 0) seconds",
                cause: error
            )
        }
    }

    private func openLive() throws(SwanError) -> VideoReader {
        var live = VideoReader.LiveOptions()
        live.frameRate = options.frameRate
        return try VideoReader(live: location, options: live, cancellation: cancellation)
    }

    private func trying(_ attempt: () throws -> VideoReader) throws -> VideoReader {
        let end = ContinuousClock.now + .seconds(options.reconnectSeconds ?? 0)
        while true {
            do {
                return try attempt()
            } catch let error as SwanError {
                guard Self.mayPass(error), !isCancelled, ContinuousClock.now < end else {
                    throw error
                }
            }
            for _ in 0..<10 where !isCancelled { usleep(50_000) }
        }
    }

    /// Whether an error may be gone the next time: an unknown format will not be.
    private static func mayPass(_ error: SwanError) -> Bool {
        [.deviceUnavailable, .io, .noSuchFile, .notAVideo, .empty, .decoder].contains(error.code)
    }

    // MARK: - Times

    /// A frame with its capture time, which is when it arrived.
    ///
    /// Sources that come in bursts, such as the segments of HLS, are slowed down to the times in the
    /// video.
    func timed(_ frame: VideoFrame) -> TimedFrame {
        let now = ContinuousClock.now
        guard case .network(let address) = location, address.comesInBursts else {
            return TimedFrame(frame, captureTime: now)
        }
        let due = state.withLock { state in
            let origin = state.origin ?? (frame.seconds, now)
            let due = origin.time + .seconds(frame.seconds - origin.seconds)
            // A jump of the times or a stall begins a new count.
            let isPlausible = abs((due - now).seconds) < 15
            state.origin = isPlausible ? origin : (frame.seconds, now)
            return isPlausible ? due : now
        }
        while !isCancelled, (due - .now).seconds > 0 {
            usleep(UInt32(min((due - .now).seconds, 0.1) * 1e6))
        }
        return TimedFrame(frame, captureTime: .now)
    }
}

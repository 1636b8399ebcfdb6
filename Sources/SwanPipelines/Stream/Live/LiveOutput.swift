import Foundation
import SwanMedia
import SwanSystem
import SwanThreads
import Synchronization

/// An output of a live stream: a thread that gives frames to a receiver when they are due.
final class LiveOutput: Sendable {
    /// What happens to frames that come while the receiver is busy.
    enum Policy {
        /// The stream waits, and frames leave as soon as possible: files.
        case wait
        /// The stream waits, and frames leave at a constant rate: a file that is shown or sent.
        case waitPaced
        /// Frames leave at the rate of the stream, and the oldest are dropped: live video.
        case dropPaced
    }

    /// The frames that may wait for a live receiver: three chunks.
    private static let liveCapacity = 12

    private let make: @Sendable () throws -> any LiveReceiver
    private let queue: BoundedQueue<ShownFrame>
    private let pacer: Mutex<FramePacer>?
    private let figures: LiveFigures?
    private let encoderName = Mutex("")
    private let early = Mutex(0)

    /// - Parameters:
    ///   - figures: Where shown frames are counted; `nil` for outputs that are not the main one.
    ///   - make: Makes the receiver, on the output's thread.
    init(
        _ policy: Policy,
        rate: Double,
        capacity: Int,
        figures: LiveFigures?,
        make: @escaping @Sendable () throws -> any LiveReceiver
    ) {
        self.make = make
        self.figures = figures
        switch policy {
        case .wait: pacer = nil
        case .waitPaced: pacer = Mutex(FramePacer(.constant, rate: rate))
        case .dropPaced: pacer = Mutex(FramePacer(.asTheyCome, rate: rate))
        }
        queue =
            policy == .dropPaced
            ? BoundedQueue(capacity: Self.liveCapacity, whenFull: .dropOldest)
            : BoundedQueue(capacity: min(capacity, Self.liveCapacity), whenFull: .wait)
    }

    /// FFmpeg's name of the encoder, once the receiver is connected.
    var encoder: String { encoderName.withLock { $0 } }
    /// The frames that the receiver was too slow for.
    var droppedFrames: Int { queue.droppedCount }
    /// The frames that the receiver had no place for.
    var earlyFrames: Int { early.withLock { $0 } }

    /// Starts the thread, and returns when the receiver is connected.
    func start(_ threads: WorkerThreads, ended: @escaping @Sendable () -> Void) throws {
        let connected = DispatchSemaphore(value: 0)
        let end = { @Sendable [queue] in
            queue.close(dropping: true)
            connected.signal()
            ended()
        }
        try threads.start("swan.output", atEnd: end) { [self] in
            let receiver = try make()
            try receiver.begin()
            encoderName.withLock { $0 = receiver.encoder }
            connected.signal()
            try serve(receiver)
            try receiver.finish()
        }
        connected.wait()
        if let failure = threads.failure { throw failure }
    }

    private func serve(_ receiver: any LiveReceiver) throws {
        while !queue.isDone {
            if let frame = queue.take(within: 0.01) {
                try wait(for: frame, receiver)
                let now = ContinuousClock.now
                if try receiver.show(frame, at: now) {
                    figures?.noteShown(capturedAt: frame.captureTime, .now)
                } else {
                    early.withLock { $0 += 1 }
                }
            }
            try receiver.idle()
        }
    }

    /// Waits until a frame is due, in steps in which a window stays responsive.
    private func wait(for frame: ShownFrame, _ receiver: any LiveReceiver) throws {
        while let due = frame.due {
            let left = (due - .now).seconds
            guard left > 0 else { return }
            usleep(UInt32(min(left, 0.01) * 1e6))
            try receiver.idle()
        }
    }

    /// Queues a chunk; returns false if the output takes no more.
    func put(_ chunk: StreamedChunk) -> Bool {
        let now = ContinuousClock.now
        let times = pacer?.withLock { $0.due(chunk.frames.count, now) }
        for (index, frame) in chunk.frames.enumerated() {
            let capture = index < chunk.captureTimes.count ? chunk.captureTimes[index] : now
            let shown = ShownFrame(frame: frame, captureTime: capture, due: times?[index])
            guard queue.put(shown) else { return false }
        }
        return true
    }

    /// Takes no more frames; those that wait are shown unless `dropping`.
    func close(dropping: Bool = false) { queue.close(dropping: dropping) }
}

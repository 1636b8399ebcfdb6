import Foundation
import SwanMedia
import SwanSystem

/// A restyled frame on its way to a receiver.
struct ShownFrame: Sendable {
    let frame: VideoFrame
    let captureTime: ContinuousClock.Instant
    /// When it is shown; `nil` as soon as possible.
    let due: ContinuousClock.Instant?
}

/// What gets the frames of a live stream. All calls come from one thread.
protocol LiveReceiver: AnyObject {
    /// FFmpeg's name of the encoder, or what the frames are shown on.
    var encoder: String { get }
    /// Connects; the first call.
    func begin() throws
    /// Shows a frame. Returns false if the receiver has no place for it.
    func show(_ frame: ShownFrame, at now: ContinuousClock.Instant) throws -> Bool
    /// Called while there is no frame, a hundred times a second.
    func idle() throws
    /// Completes the output; the last call, also if there was no frame.
    func finish() throws
}

extension LiveReceiver {
    func idle() throws {}
}

/// Sends frames to the network or a video device, stamped with the time of sending.
final class SendingReceiver: LiveReceiver {
    private let connect: () throws -> LiveWriter
    private var writer: LiveWriter?
    private var start: ContinuousClock.Instant?

    init(_ connect: @escaping () throws -> LiveWriter) { self.connect = connect }

    var encoder: String { writer?.encoder ?? "" }
    func begin() throws { writer = try connect() }

    func show(_ frame: ShownFrame, at now: ContinuousClock.Instant) throws -> Bool {
        let start = start ?? now
        self.start = start
        try writer?.send(frame.frame, at: (now - start).seconds)
        return true
    }

    func finish() throws { try writer?.finish() }
}

/// Writes frames to a file of constant rate. Frames that a live source lost are filled in by repeating
/// others, so that the video is as long as what it shows.
final class FileReceiver: LiveReceiver {
    private let writer: VideoWriter
    private let rate: Double
    private let keepsTime: Bool
    private let keepsAudio: () -> Bool
    private var start: ContinuousClock.Instant?
    private var last: VideoFrame?

    /// The most seconds of a gap that are filled; after a longer one, the video goes on at once.
    private static let longestGap = 60.0

    init(
        _ writer: VideoWriter,
        rate: Double,
        keepsTime: Bool,
        keepsAudio: @escaping () -> Bool
    ) {
        self.writer = writer
        self.rate = rate
        self.keepsTime = keepsTime
        self.keepsAudio = keepsAudio
    }

    var encoder: String { writer.encoder }
    func begin() throws {}

    func show(_ frame: ShownFrame, at now: ContinuousClock.Instant) throws -> Bool {
        guard keepsTime else {
            try writer.append(frame.frame)
            return true
        }
        defer { last = frame.frame }
        let origin = start ?? frame.captureTime
        // The frames that are missing before this one.
        var gap = (frame.captureTime - origin).seconds * rate - Double(writer.frameCount)
        start = origin
        if gap > Self.longestGap * rate {
            start = origin + .seconds(gap / rate)
            gap = 0
        }
        // A frame that is early by more than half an interval replaces none: it has no place.
        guard gap > -0.5 else { return false }
        for _ in 0..<Int(gap.rounded()) { try writer.append(last ?? frame.frame) }
        try writer.append(frame.frame)
        return true
    }

    func finish() throws {
        guard writer.frameCount > 0 else { return writer.cancel() }
        try writer.finish(keepingAudio: keepsAudio())
    }
}

/// What a person does in the window.
struct WindowActions: Sendable {
    /// The keys 1 to 9.
    let digit: @Sendable (Int) -> Void
    let pause: @Sendable () -> Void
    let close: @Sendable () -> Void
    /// The window's title now.
    let title: @Sendable () -> String
}

/// Shows frames in a window, and passes on what a person does there.
final class WindowReceiver: LiveReceiver {
    private let width, height: Int
    private let actions: WindowActions
    private var window: PreviewWindow?
    private var lastTitle: ContinuousClock.Instant?

    init(width: Int, height: Int, _ actions: WindowActions) {
        (self.width, self.height, self.actions) = (width, height, actions)
    }

    let encoder = "window"

    func begin() throws {
        window = try PreviewWindow(title: actions.title(), width: width, height: height)
    }

    func show(_ frame: ShownFrame, at now: ContinuousClock.Instant) throws -> Bool {
        try window?.show(frame.frame)
        return true
    }

    func idle() throws {
        while let event = window?.nextEvent() {
            switch event {
            case .digit(let number): actions.digit(number)
            case .space: actions.pause()
            case .close: actions.close()
            }
        }
        let now = ContinuousClock.now
        guard lastTitle.map({ (now - $0).seconds > 0.5 }) ?? true else { return }
        lastTitle = now
        window?.setTitle(actions.title())
    }

    func finish() throws { window = nil }
}

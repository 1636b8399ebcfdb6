import Foundation
import Logging
import SwanMedia
import SwanSystem
import SwanThreads
import Synchronization

/// The input video of a `FileStream`, decoded ahead of the stream on a separate thread.
final class FileStreamInput: Sendable {
    private struct State {
        /// Whether the last frame has been read from the file.
        var hasEnded = false
        var seconds = 0.0
        /// The times of frames that were taken, next one first.
        var times: [Double] = []
    }

    /// The file's metadata.
    let info: VideoInfo
    private let path: String
    private let maxFrames: Int?
    /// Whether the file's frames are resampled to a constant rate.
    private let isResampled: Bool
    private let reader: VideoReader
    private let queue: BoundedQueue<VideoFrame>
    private let state = Mutex(State())

    /// Opens a video file.
    ///
    /// - Parameters:
    ///   - pictures: Files of pictures that `path` stands for; empty for what `path` itself names.
    ///   - frameRate: The rate to resample to; `nil` to keep the file's own.
    ///   - maxFrames: The maximum number of frames to read.
    ///   - fit: What happens to frames of another shape than the first.
    init(
        _ path: String,
        pictures: [String] = [],
        frameRate: Rational?,
        maxFrames: Int?,
        fit: FrameFit = .crop
    ) throws {
        self.path = path
        self.maxFrames = maxFrames
        isResampled = frameRate != nil
        let options = VideoReader.Options(frameRate: frameRate, fit: fit.ofReader)
        reader =
            pictures.isEmpty
            ? try VideoReader(path: path, options: options)
            : try VideoReader(
                pictures: PictureSequence(name: path, files: pictures),
                options: options
            )
        info = reader.info
        queue = BoundedQueue(capacity: VideoFrame.queueCapacity(info.width, info.height))
    }

    /// The estimated number of frames that will be read, if known from the file.
    var estimatedFrames: Int? {
        guard let frames = info.estimatedFrames ?? (info.isPictures ? 1 : nil) else {
            return maxFrames
        }
        return min(frames, maxFrames ?? .max)
    }

    /// The file's tracks besides the video and its best audio.
    var furtherTracks: [MediaTrack] { reader.furtherTracks }
    /// The time spent decoding, in seconds.
    var seconds: Double { state.withLock { $0.seconds } }
    /// Whether the file ended earlier than its index says.
    var isTruncated: Bool { reader.isTruncated }

    /// Whether the frames read reach the end of the file's video.
    var isReadWhole: Bool {
        if state.withLock({ $0.hasEnded }) { return true }
        return maxFrames.map { $0 >= info.estimatedFrames ?? .max } ?? false
    }

    /// Starts reading ahead.
    func start(_ threads: WorkerThreads) throws {
        let end = { @Sendable [queue] in queue.close(dropping: threads.failure != nil) }
        try threads.start("swan.read", atEnd: end) { [self] in
            for _ in 0..<(maxFrames ?? .max) {
                guard let frame = try read(), queue.put(frame) else { break }
            }
        }
    }

    private func read() throws -> VideoFrame? {
        let start = ContinuousClock.now
        let frame = try reader.nextFrame()
        let seconds = (ContinuousClock.now - start).seconds
        state.withLock { state in
            state.seconds += seconds
            if frame == nil { state.hasEnded = true }
        }
        return frame
    }

    /// Waits for the next frame and returns it, or `nil` at the end.
    func next() -> VideoFrame? {
        guard let frame = queue.take() else { return nil }
        if !isResampled { state.withLock { $0.times.append(frame.seconds) } }
        return frame
    }

    /// Removes and returns the time of the earliest frame that was taken; nil if the rate is constant.
    func nextTime() -> Double? {
        state.withLock { $0.times.isEmpty ? nil : $0.times.removeFirst() }
    }

    /// Ends the input for a consumer that is waiting for a frame.
    func close() { queue.close(dropping: true) }

    /// Interrupts the reader, which may be waiting for a pipe. Can be called from any thread.
    func interrupt() { reader.interrupt() }

    /// Logs what could not be read and what the output does not preserve.
    ///
    /// - Parameter keepsTimes: Whether the output keeps the time of each frame.
    func warnOfDamage(_ log: Logger, keepsTimes: Bool) {
        if reader.isTruncated {
            log.warning("\(path): the file is cut off; the available frames were streamed")
        }
        if reader.damagedPackets > 0 {
            log.warning("\(path): skipped \(reader.damagedPackets) damaged packets")
        }
        if let seconds = reader.unevenSeconds, !keepsTimes {
            let rate = Int(info.frameRate.value.rounded(.up))
            log.warning(
                """
                \(path): the frame rate varies, by up to \(String(format: "%.1f", seconds)) s from \
                a constant rate, which this output does not keep; --fps \(rate) keeps the timing
                """
            )
        }
        if reader.changesSize {
            log.warning(
                """
                \(path): the frame size changes; frames of another size were scaled to the first \
                one's, \(info.width)x\(info.height), and those of another shape fitted to it (--fit)
                """
            )
        }
        warnOfProblems(log)
        if let text = reader.treatment.text { log.notice("\(path): \(text)") }
        if reader.treatment.hasCombs {
            log.warning(
                "\(path): is interlaced and stays so: FFmpeg's library libavfilter is missing"
            )
        }
        if reader.treatment.hasWrongTones {
            log.warning(
                """
                \(path): is a video of high dynamic range, whose colors look pale: this FFmpeg has \
                no zscale filter to convert them
                """
            )
        }
    }
}

extension FileStreamInput {
    /// The maximum number of problems that are listed.
    private static let mostListed = 5

    private func warnOfProblems(_ log: Logger) {
        let problems = reader.problems
        for problem in problems.prefix(Self.mostListed) { log.warning("\(path): \(problem)") }
        if problems.count > Self.mostListed {
            log.warning("\(path): \(problems.count - Self.mostListed) more problems like these")
        }
    }

    /// Says what a picture or pictures are taken for, before they are read.
    func describePictures(_ log: Logger) {
        guard info.isPictures, path != "-" else { return }
        if info.estimatedFrames ?? 1 > 1, !isResampled {
            log.notice(
                """
                \(path): \(info.estimatedFrames ?? 0) pictures, shown at \(info.frameRate) a second \
                (--fps N for another rate)
                """
            )
        } else if let (count, pattern) = PictureSequence.siblings(of: path) {
            log.notice(
                "\(path): is one of \(count) numbered pictures; \(pattern) stands for all of them"
            )
        }
    }
}

extension FrameFit {
    /// The same for the frames of a file that differ from each other.
    var ofReader: VideoReader.Fit {
        switch self {
        case .crop: .crop
        case .pad: .pad
        case .stretch: .stretch
        }
    }
}

extension FrameTreatment {
    /// What was done to frames, for people; nil if nothing was.
    fileprivate var text: String? {
        let parts = [
            isDeinterlaced ? "interlaced frames were deinterlaced" : nil,
            isToneMapped ? "high dynamic range was mapped to BT.709" : nil,
            isBlended ? "transparent parts became black" : nil,
        ].compactMap(\.self)
        return parts.isEmpty ? nil : parts.joined(separator: "; ")
    }
}

extension VideoFrame {
    /// The maximum number of frames queued between two threads: 64, but no more than 96 MB.
    static func queueCapacity(_ width: Int, _ height: Int) -> Int {
        max(2, min(64, 96_000_000 / max(1, 3 * width * height)))
    }
}

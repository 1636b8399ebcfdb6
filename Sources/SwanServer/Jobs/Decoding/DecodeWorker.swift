import Foundation
import SwanMedia
import SwanSystem

/// The process that decodes uploads. It reads a file from standard input, writes frames to standard output, and can
/// do nothing else: what a hostile file makes of it stays in it.
package enum DecodeWorker {
    /// What the process decodes.
    package struct Task: Sendable {
        /// The limits that the process puts around itself.
        package var limits = DecodeLimits()
        /// The frame rate to resample to; nil for every frame once.
        package var frameRate: Double?
        /// Whether to end after the description of the file.
        package var onlyInspects = false

        /// Creates the task of decoding a whole file.
        package init() {}
    }

    /// Decodes standard input. Returns the exit code of the process.
    package static func run(_ task: Task) -> Int32 {
        MediaLibrary.loadFilters()
        do {
            try Sandbox.enter(
                memoryBytes: task.limits.memoryBytes,
                seconds: task.limits.processorSeconds
            )
        } catch {
            return report(.init(.unconfined, error.message))
        }
        do throws(SwanError) {
            isPicture ? try sendPicture(task) : try sendVideo(task)
            try send(.end, [])
            return 0
        } catch {
            // The server has closed the pipe: it needs no more frames.
            if error.code == .brokenPipe { return 0 }
            return report(.init(error))
        }
    }

    // MARK: - Files

    /// Whether the first bytes are those of a picture.
    private static var isPicture: Bool {
        var head = [UInt8](repeating: 0, count: 12)
        let count = pread(STDIN_FILENO, &head, head.count, 0)
        guard count > 4 else { return false }
        let starts: [[UInt8]] = [
            [0xFF, 0xD8, 0xFF], [0x89, 0x50, 0x4E, 0x47], [0x42, 0x4D],
            [0x49, 0x49, 0x2A, 0], [0x4D, 0x4D, 0, 0x2A],
        ]
        let isWebP = head.starts(with: Array("RIFF".utf8)) && head[8...] == Array("WEBP".utf8)[...]
        return isWebP || starts.contains { head.starts(with: $0) }
    }

    private static func sendPicture(_ task: Task) throws(SwanError) {
        let frame = try readImage("-", maxPixels: task.limits.picturePixels)
        var info = UploadInfo(width: frame.width, height: frame.height)
        info.isPicture = true
        info.frames = 1
        try send(info)
        if !task.onlyInspects { try send(frame) }
    }

    private static func sendVideo(_ task: Task) throws(SwanError) {
        let options = VideoReader.Options(
            maxPixels: task.limits.videoPixels,
            threads: 1,
            frameRate: task.frameRate.flatMap { Rational($0) }
        )
        let reader = try VideoReader(path: "-", options: options)
        var info = UploadInfo(width: reader.info.width, height: reader.info.height)
        info.rateNumerator = reader.info.frameRate.numerator
        info.rateDenominator = reader.info.frameRate.denominator
        info.pixelAspect = reader.info.sampleAspectRatio.value
        info.frames = reader.info.estimatedFrames
        try send(info)
        guard !task.onlyInspects else { return }
        var count = 0
        while let frame = try reader.nextFrame() {
            count += 1
            guard count <= task.limits.frames else {
                throw SwanError(.tooLarge, "has more than \(task.limits.frames) frames")
            }
            try send(frame)
        }
    }

    // MARK: - The pipe

    private static func send(_ info: UploadInfo) throws(SwanError) {
        try send(.info, json(info))
    }

    private static func send(_ frame: VideoFrame) throws(SwanError) {
        let time = withUnsafeBytes(of: frame.seconds.bitPattern.littleEndian) { Array($0) }
        let head = DecodeMessage.Head(.frame, length: time.count + frame.pixels.count)
        try write(head.bytes + time)
        try write(frame.pixels)
    }

    private static func send(_ kind: DecodeMessage.Kind, _ bytes: [UInt8]) throws(SwanError) {
        try write(DecodeMessage.Head(kind, length: bytes.count).bytes + bytes)
    }

    private static func write(_ bytes: [UInt8]) throws(SwanError) {
        try OutputPath.writeToStandardOutput(bytes)
    }

    private static func json(_ value: some Encodable) throws(SwanError) -> [UInt8] {
        do {
            return Array(try JSONEncoder().encode(value))
        } catch {
            throw SwanError(.libraryFailed, "a message cannot be encoded", cause: error)
        }
    }

    /// Tells the server why there are no frames. If the server is gone, nobody needs to know.
    private static func report(_ problem: DecodeMessage.Problem) -> Int32 {
        do throws(SwanError) {
            try send(.problem, json(problem))
            return 0
        } catch {
            return 1
        }
    }
}

import Glibc
import SwanSystem

/// Writes a picture file per frame. Files already written are complete and remain if the rest is
/// cancelled.
final class PictureSequenceSink: FrameSink {
    private let pattern: FramePattern
    private let encoding: PictureEncoder
    private let replaces: Bool
    private var count = 0

    init(
        pattern: FramePattern,
        kind: PictureKind,
        size: PixelSize,
        replaces: Bool
    ) throws(SwanError) {
        self.pattern = pattern
        self.replaces = replaces
        encoding = try PictureEncoder(kind, name: pattern.path(1), size: size)
        // Report an output that cannot be written before the first frame is computed.
        let probe = try PartialFile(target: pattern.path(1))
        _ = consume probe
    }

    var encoder: String { encoding.encoder }

    func append(_ rgb: UnsafeRawBufferPointer, at seconds: Double?) throws(SwanError) {
        try encoding.write(rgb, to: pattern.path(count + 1), replaces: replaces)
        count += 1
    }

    func finish(keepingAudio: Bool) throws(SwanError) -> WrittenAudio {
        guard count > 0 else {
            throw SwanError(.empty, "\(pattern.path(1)): no frame was written")
        }
        return WrittenAudio()
    }
}

/// Writes one picture file, which appears under its name when it is finished.
final class PictureSink: FrameSink {
    private let path: String
    private let encoding: PictureEncoder
    private var file: PartialFile?
    private var image: [UInt8] = []

    init(
        path: String,
        kind: PictureKind,
        size: PixelSize,
        replaces: Bool
    ) throws(SwanError) {
        self.path = path
        encoding = try PictureEncoder(kind, name: path, size: size)
        file = try PartialFile(target: path, replaces: replaces)
    }

    var encoder: String { encoding.encoder }

    func append(_ rgb: UnsafeRawBufferPointer, at seconds: Double?) throws(SwanError) {
        guard image.isEmpty else { throw OutputFormat.onePicture(path) }
        image = try encoding.encode(rgb, name: path)
    }

    func finish(keepingAudio: Bool) throws(SwanError) -> WrittenAudio {
        guard !image.isEmpty, let file = file.take() else {
            throw SwanError(.empty, "\(path): no frame was written")
        }
        try lending(image) { (bytes) throws(SwanError) in try file.write(bytes) }
        try file.commit()
        return WrittenAudio()
    }
}

/// Writes the bytes of pictures one after the other to standard output.
final class PictureStreamSink: FrameSink {
    private let encoding: PictureEncoder
    private var count = 0
    private static let name = "standard output"

    init(kind: PictureKind, size: PixelSize) throws(SwanError) {
        try requireNoTerminal()
        encoding = try PictureEncoder(kind, name: Self.name, size: size)
    }

    var encoder: String { encoding.encoder }

    func append(_ rgb: UnsafeRawBufferPointer, at seconds: Double?) throws(SwanError) {
        let bytes = try encoding.encode(rgb, name: Self.name)
        try OutputPath.writeToStandardOutput(bytes)
        count += 1
    }

    func finish(keepingAudio: Bool) throws(SwanError) -> WrittenAudio {
        guard count > 0 else { throw SwanError(.empty, "\(Self.name): no frame was written") }
        return WrittenAudio()
    }
}

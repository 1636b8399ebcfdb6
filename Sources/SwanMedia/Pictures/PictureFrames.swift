import CMedia
import Glibc
import SwanSystem
import Synchronization

/// The frames of a sequence of pictures, one for each.
final class PictureFrames: FrameSource {
    let info: VideoInfo
    private(set) var changesSize = false
    private(set) var problems: [String] = []
    private var isBlended = false
    private let options: VideoReader.Options
    private let size: PixelSize
    private var files: ArraySlice<String>
    private var first: VideoFrame?
    private let interrupted = Mutex(false)

    /// The rate of pictures without times, as in FFmpeg.
    static let frameRate = Rational(25) ?? .one

    /// Reads the first picture that can be read, whose size all others get.
    init(_ sequence: PictureSequence, options: VideoReader.Options) throws(SwanError) {
        self.options = options
        files = sequence.files[...]
        if let gap = sequence.missing.first {
            let others = sequence.missing.count - 1
            let more = others > 0 ? " and \(others >= 999 ? "many" : "\(others)") others" : ""
            problems = ["number \(gap)\(more) missing; the next picture follows directly"]
        }
        var failure: SwanError?
        while first == nil, let path = files.popFirst() {
            do throws(SwanError) {
                first = try readPicture(path, maxPixels: options.maxPixels, &isBlended)
            } catch {
                guard error.code != .outOfMemory else { throw error }
                failure = failure ?? error
                problems.append("left out \(error.message)")
            }
        }
        guard let first else {
            throw failure ?? SwanError(.empty, "\(sequence.name): has no pictures")
        }
        size = PixelSize(width: first.width, height: first.height)
        info = VideoInfo(
            pictures: sequence.files.count,
            size,
            frameRate: Self.frameRate,
            codec: Folder.ending(of: sequence.files[0]),
            format: VideoInfo.pictureSequence
        )
    }

    func next() throws(SwanError) -> TimedFrame? {
        let duration = 1 / info.frameRate.value
        if let frame = first {
            first = nil
            return TimedFrame(frame: frame, duration: duration)
        }
        while !interrupted.withLock({ $0 }), let path = files.popFirst() {
            do throws(SwanError) {
                let frame = try readPicture(path, maxPixels: options.maxPixels, &isBlended)
                return TimedFrame(frame: try fitted(frame), duration: duration)
            } catch {
                guard error.code != .outOfMemory else { throw error }
                problems.append("left out \(error.message)")
            }
        }
        return nil
    }

    private func fitted(_ frame: VideoFrame) throws(SwanError) -> VideoFrame {
        guard frame.width != size.width || frame.height != size.height else { return frame }
        changesSize = true
        return try frame.fitted(to: size, options.fit)
    }

    var treatment: FrameTreatment { FrameTreatment(isBlended: isBlended) }

    func interrupt() { interrupted.withLock { $0 = true } }
}

extension VideoFrame {
    /// The frame in another size, with its own shape unless it is stretched.
    func fitted(to size: PixelSize, _ fit: VideoReader.Fit) throws(SwanError) -> VideoFrame {
        let ratio = Double(width * size.height) / Double(height * size.width)
        // A percent is no other shape; an extreme shape would leave nothing of the picture.
        guard fit != .stretch, abs(ratio - 1) >= 0.01, (0.05...20).contains(ratio) else {
            return try resized(width: size.width, height: size.height)
        }
        guard fit == .pad else { return try covering(width: size.width, height: size.height) }
        let wide = ratio > 1 ? size.width : max(1, Int(Double(size.width) * ratio))
        let high = ratio > 1 ? max(1, Int(Double(size.height) / ratio)) : size.height
        let inner = try resized(width: wide, height: high)
        let (left, top) = ((size.width - wide) / 2, (size.height - high) / 2)
        return VideoFrame(width: size.width, height: size.height, seconds: seconds) { target in
            target.initializeMemory(as: UInt8.self, repeating: 0)
            inner.pixels.withUnsafeBytes { source in
                for row in 0..<high {
                    let at = 3 * ((top + row) * size.width + left)
                    UnsafeMutableRawBufferPointer(rebasing: target[at...]).copyMemory(
                        from: UnsafeRawBufferPointer(
                            rebasing: source[(3 * row * wide)..<(3 * (row + 1) * wide)]
                        )
                    )
                }
            }
        }
    }
}

/// Reads a picture for a video: upright, with transparent parts in black. Throws if it is damaged.
///
/// - Parameter isBlended: Set if there are transparent parts.
private func readPicture(
    _ path: String,
    maxPixels: Int,
    _ isBlended: inout Bool
) throws(SwanError) -> VideoFrame {
    let file = try readBytes(path)
    defer { free(file.baseAddress) }
    let bytes = UnsafeRawBufferPointer(file)
    let still = try decodeImage(bytes, name: path, maxPixels: maxPixels, isBlended: &isBlended)
    return still.upright(from: EXIFOrientation(of: bytes))
}

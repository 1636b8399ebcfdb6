import CMedia
import Glibc
import SwanSystem
import Synchronization

/// The frames of an animated WebP file, whose pictures FFmpeg decodes one by one: its own reader knows
/// still WebP alone.
///
/// The container is described in RFC 9649; a frame may cover a part of the canvas.
final class WebPAnimation: FrameSource {
    let info: VideoInfo
    private(set) var problems: [String] = []
    private var isBlended = false
    private let name: String
    private let bytes: [UInt8]
    private var parts: ArraySlice<Part>
    private let maxPixels: Int
    private let size: PixelSize
    /// Red, green, blue and alpha, not multiplied.
    private var canvas: [UInt8]
    /// The area to clear before the next frame.
    private var disposed: Part?
    private var seconds = 0.0
    private let interrupted = Mutex(false)

    /// An animation frame (ANMF).
    private struct Part {
        let x, y, width, height: Int
        let seconds: Double
        let clears, blends: Bool
        /// The chunks with the picture.
        let data: Range<Int>
    }

    /// Reads a file; `nil` if it is no animated WebP.
    init?(path: String, maxPixels: Int) throws(SwanError) {
        guard Self.isAnimated(path) else { return nil }
        let file = try readBytes(path)
        defer { free(file.baseAddress) }
        bytes = Array(file)
        name = path
        self.maxPixels = maxPixels
        let found = Self.parts(of: bytes)
        let (width, height) = (1 + Self.number(bytes, 24, 3), 1 + Self.number(bytes, 27, 3))
        guard width * height <= maxPixels else {
            throw SwanError(
                .tooLarge,
                "\(path): has frames of \(width)x\(height); the limit is \(maxPixels) pixels"
            )
        }
        guard !found.isEmpty else { throw SwanError(.empty, "\(path): has no frames") }
        parts = found[...]
        size = PixelSize(width: width, height: height)
        canvas = [UInt8](repeating: 0, count: 4 * width * height)
        let total = found.reduce(0) { $0 + $1.seconds }
        let even = found.allSatisfy { abs($0.seconds - found[0].seconds) < 0.0015 }
        info = VideoInfo(
            pictures: found.count,
            size,
            frameRate: Rational(Double(found.count) / total) ?? PictureFrames.frameRate,
            varies: !even,
            seconds: total,
            codec: "webp",
            format: "webp"
        )
    }

    func next() throws(SwanError) -> TimedFrame? {
        while !interrupted.withLock({ $0 }), let part = parts.popFirst() {
            if let disposed { clear(disposed) }
            disposed = part.clears ? part : nil
            do throws(SwanError) {
                lay(try pixels(of: part), part)
            } catch {
                guard error.code != .outOfMemory else { throw error }
                problems.append("a frame cannot be decoded and repeats the one before")
            }
            defer { seconds += part.seconds }
            return TimedFrame(frame: frame(), duration: part.seconds)
        }
        return nil
    }

    var treatment: FrameTreatment { FrameTreatment(isBlended: isBlended) }

    func interrupt() { interrupted.withLock { $0 = true } }
}

// MARK: - The container

extension WebPAnimation {
    /// Whether the header of a regular file says that it is an animation.
    private static func isAnimated(_ path: String) -> Bool {
        guard FileIdentity(path)?.isRegularFile == true, let file = fopen(path, "rbe") else {
            return false
        }
        defer { fclose(file) }
        var head = [UInt8](repeating: 0, count: 30)
        guard fread(&head, 1, head.count, file) == head.count else { return false }
        return text(head, 0) == "RIFF" && text(head, 8) == "WEBP" && text(head, 12) == "VP8X"
            && head[20] & 0x02 != 0
    }

    private static func text(_ bytes: [UInt8], _ at: Int) -> String {
        String(decoding: bytes[at..<(at + 4)], as: UTF8.self)
    }

    private static func number(_ bytes: [UInt8], _ at: Int, _ count: Int) -> Int {
        bytes[at..<(at + count)].reversed().reduce(0) { $0 << 8 | Int($1) }
    }

    /// The frames; what is cut off at the end is left out.
    private static func parts(of bytes: [UInt8]) -> [Part] {
        var parts: [Part] = []
        var at = 12
        while at + 8 <= bytes.count {
            let (start, size) = (at + 8, number(bytes, at + 4, 4))
            guard start + size <= bytes.count else { break }
            if text(bytes, at) == "ANMF", size >= 24 {
                // Players show frames without a duration for a tenth of a second.
                let duration = number(bytes, start + 12, 3)
                parts.append(
                    Part(
                        x: 2 * number(bytes, start, 3),
                        y: 2 * number(bytes, start + 3, 3),
                        width: 1 + number(bytes, start + 6, 3),
                        height: 1 + number(bytes, start + 9, 3),
                        seconds: duration == 0 ? 0.1 : Double(duration) / 1_000,
                        clears: bytes[start + 15] & 1 != 0,
                        blends: bytes[start + 15] & 2 == 0,
                        data: (start + 16)..<(start + size)
                    )
                )
            }
            at = start + size + size % 2
        }
        return parts
    }

    /// The picture of a frame as a file of its own: the header and the frame's chunks.
    private func file(of part: Part) -> [UInt8] {
        func little(_ value: Int, _ count: Int) -> [UInt8] {
            (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
        }
        let hasAlpha = Self.text(bytes, part.data.lowerBound) == "ALPH"
        var chunks = Array("WEBP".utf8)
        if hasAlpha {
            chunks += Array("VP8X".utf8) + little(10, 4) + [0x10, 0, 0, 0]
            chunks += little(part.width - 1, 3) + little(part.height - 1, 3)
        }
        chunks += bytes[part.data]
        return Array("RIFF".utf8) + little(chunks.count, 4) + chunks
    }
}

// MARK: - The canvas

extension WebPAnimation {
    /// The pixels of a frame: red, green, blue, alpha.
    private func pixels(of part: Part) throws(SwanError) -> [UInt8] {
        let file = file(of: part)
        var options = cm_reader_options()
        options.max_pixels = Int64(clamping: maxPixels)
        options.threads = 1
        options.still = true
        options.keeps_alpha = true
        var pixels = [UInt8](repeating: 0, count: 4 * part.width * part.height)
        let (name, count) = (name, pixels.count)
        try lending(file) { (source) throws(SwanError) in
            var opened: OpaquePointer?
            let start = source.assumingMemoryBound(to: UInt8.self).baseAddress
            try calling(name) { cm_reader_open_memory(&opened, start, source.count, &options, $0) }
            defer { cm_reader_free(opened) }
            var info = cm_video_info()
            if let opened { cm_reader_info(opened, &info) }
            guard let opened, info.width == part.width, info.height == part.height else {
                throw SwanError(.decoder, "\(name): a frame has another size than its header says")
            }
            try calling(name) { cm_reader_next(opened, &pixels, count, nil, $0) }
        }
        return pixels
    }

    private func rows(of part: Part) -> (columns: Range<Int>, rows: Range<Int>) {
        (
            min(part.x, size.width)..<min(part.x + part.width, size.width),
            min(part.y, size.height)..<min(part.y + part.height, size.height)
        )
    }

    private func clear(_ part: Part) {
        let (columns, rows) = rows(of: part)
        for y in rows {
            let row = 4 * y * size.width
            for at in (row + 4 * columns.lowerBound)..<(row + 4 * columns.upperBound) {
                canvas[at] = 0
            }
        }
    }

    private func lay(_ pixels: [UInt8], _ part: Part) {
        let (columns, rows) = rows(of: part)
        for y in rows {
            for x in columns {
                let from = 4 * ((y - part.y) * part.width + x - part.x)
                let to = 4 * (y * size.width + x)
                let alpha = Int(pixels[from + 3])
                guard part.blends, alpha < 255 else {
                    for channel in 0..<4 { canvas[to + channel] = pixels[from + channel] }
                    continue
                }
                // RFC 9649, 2.7.1.1: alpha-blending in straight colors.
                let under = Int(canvas[to + 3]) * (255 - alpha) / 255
                let sum = alpha + under
                for channel in 0..<3 where sum > 0 {
                    let mixed =
                        Int(pixels[from + channel]) * alpha + Int(canvas[to + channel]) * under
                    canvas[to + channel] = UInt8(clamping: mixed / sum)
                }
                canvas[to + 3] = UInt8(clamping: sum)
            }
        }
    }

    /// The canvas over black.
    private func frame() -> VideoFrame {
        VideoFrame(width: size.width, height: size.height, seconds: seconds) { target in
            canvas.withUnsafeBytes { source in
                for pixel in 0..<(size.width * size.height) {
                    let alpha = Int(source[4 * pixel + 3])
                    if alpha < 255 { isBlended = true }
                    for channel in 0..<3 {
                        let value = (Int(source[4 * pixel + channel]) * alpha + 127) / 255
                        target[3 * pixel + channel] = UInt8(truncatingIfNeeded: value)
                    }
                }
            }
        }
    }
}

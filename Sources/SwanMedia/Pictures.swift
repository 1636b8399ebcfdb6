import CMedia

/// Width and height in pixels.
struct PixelSize: Equatable, Sendable {
    let width: Int
    let height: Int

    var byteCount: Int { 3 * width * height }
}

/// Encodes pictures of one size.
final class PNGEncoder {
    private let handle: OpaquePointer

    init(name: String, size: PixelSize) throws(MediaError) {
        var opened: OpaquePointer?
        try calling(name) {
            cm_png_open(&opened, Int32(clamping: size.width), Int32(clamping: size.height), $0)
        }
        guard let opened else { throw MediaError(.outOfMemory, "\(name): no memory for a PNG") }
        handle = opened
    }

    deinit {
        cm_png_free(handle)
    }

    /// Writes one picture, under its name only when it is complete.
    func write(_ rgb: UnsafeRawBufferPointer, to path: String) throws(MediaError) {
        let pixels = rgb.assumingMemoryBound(to: UInt8.self)
        var bytes: UnsafePointer<UInt8>?
        var size = 0
        try calling(path) { cm_png_encode(handle, pixels.baseAddress, &bytes, &size, $0) }
        let file = try PartialFile(target: path)
        try file.write(UnsafeRawBufferPointer(start: bytes, count: size))
        try file.commit()
    }
}

/// Reads a PNG, JPEG, WebP or other picture, upright, as RGB24; of a video, the first frame.
public func readImage(_ path: String) throws(MediaError) -> VideoFrame {
    let reader = try VideoReader(path: path, options: VideoReader.Options(threads: 1))
    guard let frame = try reader.nextFrame() else {
        throw MediaError(.empty, "\(path): has no picture")
    }
    return frame
}

/// Writes a frame as a PNG file, under its name only when it is complete.
public func writePNG(_ frame: VideoFrame, _ path: String) throws(MediaError) {
    let size = PixelSize(width: frame.width, height: frame.height)
    let encoder = try PNGEncoder(name: path, size: size)
    try frame.withUnsafeBytes { (bytes) throws(MediaError) in
        try encoder.write(bytes, to: path)
    }
}

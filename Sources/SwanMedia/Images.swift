import CMedia
import Glibc
public import SwanSystem

/// Width and height in pixels.
struct PixelSize: Equatable, Sendable {
    let width: Int
    let height: Int

    var byteCount: Int { 3 * width * height }
}

/// Reads the first image of a PNG, JPEG, WebP, GIF, BMP or TIFF file, upright, as RGB24.
///
/// Values equal those of Pillow's `convert("RGB")`, which the reference implementations use: alpha
/// is dropped, not composited; palettes, gray and CMYK are converted to RGB; 16 bits are rounded to
/// 8. Unlike Pillow, this applies the EXIF orientation. Throws if the file is damaged or truncated,
/// or has more than `maxPixels`, before allocating memory for them.
public func readImage(
    _ path: String,
    maxPixels: Int = 64_000_000
) throws(SwanError) -> VideoFrame {
    let name = path == "-" ? "standard input" : path
    guard !path.utf8.contains(0) else { throw SwanError(.noSuchFile, "\(name): no such file") }
    let read = try readBytes(path)
    defer { free(read.baseAddress) }
    let file = UnsafeRawBufferPointer(read)
    let still = try decodeImage(file, name: name, maxPixels: maxPixels)
    return still.upright(from: EXIFOrientation(of: file))
}

/// The bytes of a picture's file, or of standard input for `-`, which the caller frees.
func readBytes(_ path: String) throws(SwanError) -> UnsafeMutableBufferPointer<UInt8> {
    var read: UnsafeMutablePointer<UInt8>?
    var size = 0
    let name = path == "-" ? "standard input" : path
    try calling(name) { cm_read_file(path, maxFileBytes, &read, &size, $0) }
    return UnsafeMutableBufferPointer(start: read, count: size)
}

/// The maximum size of an image file, in bytes.
private let maxFileBytes = 1 << 30

/// The first image in the bytes of a file, as stored: its orientation is not applied, and alpha is dropped.
package func decodeImage(
    _ file: UnsafeRawBufferPointer,
    name: String,
    maxPixels: Int
) throws(SwanError) -> VideoFrame {
    try decodeImage(file, name) { (bytes) throws(SwanError) in
        try decodeFirst(bytes, name, maxPixels)
    }
}

/// The first image, with transparent parts in black.
///
/// - Parameter isBlended: Set if there are transparent parts.
func decodeImage(
    _ file: UnsafeRawBufferPointer,
    name: String,
    maxPixels: Int,
    isBlended: inout Bool
) throws(SwanError) -> VideoFrame {
    var blended: Bool? = false
    let frame = try decodeImage(file, name) { (bytes) throws(SwanError) in
        try decodeFirst(bytes, name, maxPixels, blended: &blended)
    }
    isBlended = isBlended || blended == true
    return frame
}

private func decodeImage(
    _ file: UnsafeRawBufferPointer,
    _ name: String,
    _ decode: (UnsafeRawBufferPointer) throws(SwanError) -> VideoFrame
) throws(SwanError) -> VideoFrame {
    let jpeg = JPEGSegments(file)
    guard jpeg?.isComplete ?? true else {
        throw SwanError(.decoder, "\(name): is a truncated JPEG: its end is missing")
    }
    do throws(SwanError) {
        guard let jpeg, !jpeg.metadata.isEmpty else { return try decode(file) }
        let plain = jpeg.plain(file)
        return try lending(plain, decode)
    } catch  where error.code == .notAVideo || error.code == .forbiddenFormat {
        throw SwanError(
            .notAVideo,
            "\(name): is not a supported image; use a complete PNG, JPEG, WebP, GIF, BMP or TIFF "
                + "file",
        )
    }
}

private func decodeFirst(
    _ file: UnsafeRawBufferPointer,
    _ name: String,
    _ maxPixels: Int
) throws(SwanError) -> VideoFrame {
    var blended: Bool?
    return try decodeFirst(file, name, maxPixels, blended: &blended)
}

/// - Parameter blended: Set to whether there are transparent parts, which are black then; `nil` drops
///   alpha.
private func decodeFirst(
    _ file: UnsafeRawBufferPointer,
    _ name: String,
    _ maxPixels: Int,
    blended: inout Bool?
) throws(SwanError) -> VideoFrame {
    var options = cm_reader_options()
    options.max_pixels = Int64(clamping: maxPixels)
    options.threads = 1
    options.still = true
    options.opaque = blended == nil
    let bytes = file.assumingMemoryBound(to: UInt8.self).baseAddress
    var opened: OpaquePointer?
    try calling(name) { cm_reader_open_memory(&opened, bytes, file.count, &options, $0) }
    guard let opened else { throw SwanError(.outOfMemory, "\(name): out of memory for a reader") }
    defer { cm_reader_free(opened) }
    var info = cm_video_info()
    cm_reader_info(opened, &info)
    var code = CM_OK
    let frame = try VideoFrame(width: Int(info.width), height: Int(info.height)) {
        (target) throws(SwanError) in
        let rgb = target.assumingMemoryBound(to: UInt8.self).baseAddress
        code = try calling(name) { cm_reader_next(opened, rgb, target.count, nil, $0) }
    }
    guard code == CM_OK else { throw SwanError(.empty, "\(name): contains no image") }
    if blended != nil { blended = cm_reader_treatment(opened).blended }
    return frame
}

/// Writes a frame to a PNG file that appears under its name only when it is complete.
///
/// - Parameter replaces: Whether an existing file may be replaced; otherwise throws `exists`.
public func writePNG(
    _ frame: VideoFrame,
    _ path: String,
    replaces: Bool = true
) throws(SwanError) {
    let size = PixelSize(width: frame.width, height: frame.height)
    let encoder = try PictureEncoder(.png, name: path, size: size)
    try frame.withUnsafeBytes { (bytes) throws(SwanError) in
        try encoder.write(bytes, to: path, replaces: replaces)
    }
}

extension VideoFrame {
    /// The frame as the bytes of a PNG file.
    public func png() throws(SwanError) -> [UInt8] {
        let name = "a PNG in memory"
        let size = PixelSize(width: width, height: height)
        let encoder = try PictureEncoder(.png, name: name, size: size)
        return try withUnsafeBytes { (rgb) throws(SwanError) in try encoder.encode(rgb, name: name)
        }
    }
}

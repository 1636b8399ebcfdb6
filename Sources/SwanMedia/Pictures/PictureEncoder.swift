import CMedia
import SwanSystem

/// A format of picture files.
enum PictureKind: String, Sendable, CaseIterable {
    case png, jpeg, webp

    /// The ending of its files.
    var ending: String { self == .jpeg ? "jpg" : rawValue }

    /// The kind with this ending, without the dot.
    init?(ending: String) {
        switch ending {
        case "png": self = .png
        case "jpg", "jpeg", "jpe": self = .jpeg
        case "webp": self = .webp
        default: return nil
        }
    }
}

/// Encodes pictures of one size.
final class PictureEncoder {
    private let kind: PictureKind
    private let size: PixelSize
    /// FFmpeg's encoder; JPEG has its own library.
    private let handle: OpaquePointer?

    /// Of JPEG, which keeps all chroma.
    private static let quality = 95

    init(_ kind: PictureKind, name: String, size: PixelSize) throws(SwanError) {
        self.kind = kind
        self.size = size
        guard kind != .jpeg else {
            guard (1...65_500).contains(size.width), (1...65_500).contains(size.height) else {
                throw SwanError(
                    .unsupported,
                    "\(name): a JPEG of \(size.width)x\(size.height) cannot be encoded"
                )
            }
            handle = nil
            return
        }
        var opened: OpaquePointer?
        try calling(name) {
            cm_picture_open(
                &opened,
                kind == .png ? CM_PICTURE_PNG : CM_PICTURE_WEBP,
                Int32(clamping: size.width),
                Int32(clamping: size.height),
                $0
            )
        }
        guard let opened else {
            throw SwanError(.outOfMemory, "\(name): out of memory for a picture")
        }
        handle = opened
    }

    deinit {
        if let handle { cm_picture_free(handle) }
    }

    /// FFmpeg's name of the encoder, or the format's.
    var encoder: String { kind == .webp ? "libwebp" : kind.rawValue }

    /// Writes an image to a file that appears under its name only when it is complete.
    func write(
        _ rgb: UnsafeRawBufferPointer,
        to path: String,
        replaces: Bool
    ) throws(SwanError) {
        let bytes = try encode(rgb, name: path)
        let file = try PartialFile(target: path, replaces: replaces)
        try lending(bytes) { (bytes) throws(SwanError) in try file.write(bytes) }
        // Sequences of images have many files in one folder.
        try file.commit(syncsFolder: false)
    }

    /// The bytes of a file.
    func encode(_ rgb: UnsafeRawBufferPointer, name: String) throws(SwanError) -> [UInt8] {
        guard let handle else {
            return try JPEG.encode(
                rgb,
                width: size.width,
                height: size.height,
                quality: Self.quality,
                isFast: false
            )
        }
        let pixels = rgb.assumingMemoryBound(to: UInt8.self)
        var bytes: UnsafePointer<UInt8>?
        var count = 0
        try calling(name) { cm_picture_encode(handle, pixels.baseAddress, &bytes, &count, $0) }
        return Array(UnsafeRawBufferPointer(start: bytes, count: count))
    }
}

import CMedia
import SwanSystem

/// The kind of output for a path.
enum OutputFormat: Equatable {
    case movie(container: String, codec: VideoWriter.Codec)
    case y4m
    case imageSequence(FramePattern)
    /// A single PNG file.
    case image

    static let supported = """
        .mp4 and .mov (H.264), .mkv (FFV1, lossless), .y4m, - (YUV4MPEG2 to standard output), \
        PNG frames (a pattern such as out/frame_%05d.png, or a directory ending in /), and .png for one \
        frame
        """

    /// Chooses the format by the path's extension. Throws `unsupported` with the supported formats.
    init(path: String, codec: VideoWriter.Codec) throws(SwanError) {
        if path.isEmpty { throw SwanError(.unsupported, "the output has no name") }
        if path == "-" {
            self = .y4m
            return
        }
        if path.hasSuffix("/") {
            self = .imageSequence(FramePattern(directory: path))
            return
        }
        let name = path.split(separator: "/").last ?? ""
        let dot = name.lastIndex(of: ".")
        let suffix = dot.map { name[$0...].dropFirst().lowercased() } ?? ""
        switch suffix {
        case "mp4", "m4v": self = .movie(container: "mp4", codec: codec.or(.h264))
        case "mov": self = .movie(container: "mov", codec: codec.or(.h264))
        case "mkv": self = .movie(container: "matroska", codec: codec.or(.ffv1))
        case "y4m": self = .y4m
        case "png": self = path.contains("%") ? .imageSequence(try FramePattern(path)) : .image
        default:
            let kind = suffix.isEmpty ? "a name without an extension" : "the extension '.\(suffix)'"
            throw SwanError(
                .unsupported,
                "\(path): \(kind) is not supported; supported outputs are \(Self.supported)",
            )
        }
    }
}

extension VideoWriter.Codec {
    func or(_ fallback: VideoWriter.Codec) -> VideoWriter.Codec {
        self == .automatic ? fallback : self
    }

    var asC: cm_codec {
        switch self {
        case .automatic, .h264: CM_CODEC_H264
        case .h264Lossless: CM_CODEC_H264_LOSSLESS
        case .ffv1: CM_CODEC_FFV1
        case .mpeg4: CM_CODEC_MPEG4
        }
    }
}

import CMedia
package import SwanSystem

/// The kind of output for a path.
enum OutputFormat: Equatable {
    case movie(container: String, codec: VideoWriter.Codec)
    case y4m
    case pictureSequence(FramePattern, PictureKind)
    /// A single picture file.
    case picture(PictureKind)
    /// Picture files one after the other to standard output.
    case pictureStream(PictureKind)
    /// Frames are not written.
    case nothing

    static let supported = """
        .mp4, .mov and .ts (H.264), .mkv (FFV1, lossless), .webm (VP9), .avi (MPEG-4), .gif, .apng, \
        .webp, .y4m, - (standard output), pictures (.png, .jpg or .webp with a number, such as \
        out/frame_%05d.png, or a directory ending in /), and one .png, .jpg or .webp for one frame
        """

    /// The formats that can be named.
    static let names = [
        "mp4", "mov", "mkv", "webm", "avi", "ts", "gif", "apng", "webp", "y4m", "png", "jpg",
        "null",
    ]

    /// Chooses the format by its name or the path's extension. Throws `unsupported` with the
    /// supported formats.
    ///
    /// - Parameters:
    ///   - format: One of `names`; `nil` for that of the path.
    ///   - frames: The number of frames, if known: one frame is a picture in formats that could also
    ///     be an animation.
    init(
        path: String,
        codec: VideoWriter.Codec,
        format: String? = nil,
        frames: Int? = nil
    ) throws(SwanError) {
        if path.isEmpty { throw SwanError(.unsupported, "the output has no name") }
        if path == "/dev/null", format == nil {
            self = .nothing
            return
        }
        let name = try format.map { name throws(SwanError) in try Self.known(name) }
        if path.hasSuffix("/") {
            self = try Self.pictures(in: path, name)
            return
        }
        let suffix = name ?? (path == "-" ? "y4m" : Folder.ending(of: path))
        if let kind = PictureKind(ending: suffix), path == "-" {
            self = .pictureStream(kind)
        } else if let kind = PictureKind(ending: suffix), path.contains("%") {
            self = .pictureSequence(try FramePattern(path), kind)
        } else if let kind = PictureKind(ending: suffix), kind != .webp || frames == 1 {
            self = .picture(kind)
        } else if let found = Self.movie(suffix, codec) {
            self = found
        } else {
            let kind = suffix.isEmpty ? "a name without an extension" : "the extension '.\(suffix)'"
            throw SwanError(
                .unsupported,
                """
                \(path): \(kind) is not supported; supported outputs are \(Self.supported); \
                --format names one for any file
                """
            )
        }
    }

    private static func movie(_ name: String, _ codec: VideoWriter.Codec) -> OutputFormat? {
        switch name {
        case "mp4", "m4v": .movie(container: "mp4", codec: codec.or(.h264))
        case "mov", "qt": .movie(container: "mov", codec: codec.or(.h264))
        case "mkv": .movie(container: "matroska", codec: codec.or(.ffv1))
        case "webm": .movie(container: "webm", codec: codec.or(.vp9))
        case "avi": .movie(container: "avi", codec: codec.or(.mpeg4))
        case "ts", "mts", "m2ts": .movie(container: "mpegts", codec: codec.or(.h264))
        case "gif": .movie(container: "gif", codec: codec.or(.gif))
        case "apng": .movie(container: "apng", codec: codec.or(.apng))
        case "webp": .movie(container: "webp", codec: codec.or(.webp))
        case "y4m": .y4m
        case "null": .nothing
        default: nil
        }
    }

    /// The name of a format as the ending of its files. Throws for an unknown one.
    static func known(_ format: String) throws(SwanError) -> String {
        let name = format.lowercased()
        let others = [
            "matroska": "mkv", "jpeg": "jpg", "mpegts": "ts", "quicktime": "mov",
            "yuv4mpegpipe": "y4m", "yuv4mpeg": "y4m", "none": "null", "m4v": "mp4",
        ]
        guard let known = names.contains(name) ? name : others[name] else {
            throw SwanError(
                .unsupported,
                "the format '\(format)' is unknown; use one of \(names.joined(separator: ", "))"
            )
        }
        return known
    }

    private static func pictures(
        in folder: String,
        _ name: String?
    ) throws(SwanError) -> OutputFormat {
        guard let kind = PictureKind(ending: name ?? "png") else {
            throw SwanError(
                .unsupported,
                "\(folder): is a folder, which holds pictures (png, jpg, webp), not one '\(name ?? "")'"
            )
        }
        let pattern = FramePattern(directory: folder, ending: kind.ending)
        return .pictureSequence(pattern, kind)
    }

    /// The error for several frames in a file for one picture.
    static func onePicture(_ path: String) -> SwanError {
        let dot = path.lastIndex(of: ".") ?? path.endIndex
        let numbered = "\(path[..<dot])/frame_%05d\(path[dot...])"
        return SwanError(
            .unsupported,
            "\(path): holds one picture, but there are several frames; number the pictures, such as "
                + "\(numbered), or use .gif, .apng or a video such as .mp4"
        )
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
        case .vp9: CM_CODEC_VP9
        case .gif: CM_CODEC_GIF
        case .apng: CM_CODEC_APNG
        case .webp: CM_CODEC_WEBP
        }
    }
}

/// What outputs there are, for commands that choose names.
package enum OutputNames {
    /// The names that `VideoWriter.Options.format` takes.
    package static var formats: [String] { OutputFormat.names }

    /// The ending for an output of this kind of input: the input's own if it can be written.
    ///
    /// - Parameter format: The format of the output; `nil` to follow the input.
    package static func ending(for input: String, format: String?) throws(SwanError) -> String {
        if let format { return try OutputFormat.known(format) }
        let own = Folder.ending(of: input)
        if PictureSequence.isPicture(input) {
            return PictureKind(ending: own) == nil ? "png" : own
        }
        let kept = ["mp4", "m4v", "mov", "mkv", "webm", "avi", "ts", "gif", "apng", "y4m"]
        return kept.contains(own) ? own : "mp4"
    }

    /// Whether a format is one of pictures. Throws for an unknown one.
    package static func isPicture(format: String) throws(SwanError) -> Bool {
        PictureKind(ending: try OutputFormat.known(format)) != nil
    }

    /// Throws `unsupported` if nothing can be written to a path in a format.
    package static func check(_ path: String, format: String?) throws(SwanError) {
        _ = try OutputFormat(path: path, codec: .automatic, format: format)
    }
}

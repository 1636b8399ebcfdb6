import CMedia
import Glibc
import SwanSystem

/// Encodes frames into a container.
final class MovieSink: FrameSink {
    private let name: String
    private let container: String
    private let movie: OpaquePointer
    private var file: PartialFile?
    /// Of a pipe or a device; -1 for a file.
    private let descriptor: Int32

    /// Containers whose headers are completed at the end, which a pipe does not allow.
    private static let needFiles: Set<String> = ["avi", "apng", "webp"]

    init(
        path: String,
        container: String,
        codec: VideoWriter.Codec,
        size: PixelSize,
        frameRate: Rational,
        options: VideoWriter.Options,
    ) throws(SwanError) {
        let isOutput = path == "-"
        let name = isOutput ? "standard output" : path
        if isOutput { try requireNoTerminal() }
        var file = isOutput ? nil : try PartialFile(target: path, replaces: options.replaces)
        let isDirect = file?.isDirect ?? true
        guard !isDirect || !Self.needFiles.contains(container) else {
            throw SwanError(
                .unsupported,
                "\(name): a pipe or a device cannot hold '\(container)'; use mkv, webm, mp4 or y4m"
            )
        }
        // Devices and pipes are written through a descriptor of their own, without a way back.
        let descriptor = isDirect ? try file?.makeDescriptor() ?? STDOUT_FILENO : -1
        let settings = Self.settings(container, codec, size, frameRate, options, descriptor)
        var opened: OpaquePointer?
        do throws(SwanError) {
            let hidden = file?.path ?? ""
            try calling(name) { error in
                options.preset.withCString { preset in
                    var settings = settings
                    settings.preset = preset
                    return cm_movie_open(&opened, hidden, container, &settings, error)
                }
            }
        } catch {
            if !isOutput, descriptor >= 0 { close(descriptor) }
            throw error
        }
        guard let opened else {
            throw SwanError(.outOfMemory, "\(name): out of memory for a writer")
        }
        movie = opened
        self.name = name
        self.container = container
        self.descriptor = isOutput ? -1 : descriptor
        self.file = file.take()
    }

    private static func settings(
        _ container: String,
        _ codec: VideoWriter.Codec,
        _ size: PixelSize,
        _ frameRate: Rational,
        _ options: VideoWriter.Options,
        _ descriptor: Int32
    ) -> cm_movie_options {
        var settings = cm_movie_options()
        settings.width = Int32(clamping: size.width)
        settings.height = Int32(clamping: size.height)
        settings.frame_rate = frameRate.asC
        settings.codec = codec.asC
        settings.crf = options.crf
        settings.varies = options.varies && hasTimes(container)
        settings.threads = Int32(clamping: options.threads ?? 0)
        settings.descriptor = descriptor
        return settings
    }

    deinit {
        cm_movie_free(movie)
        if descriptor >= 0 { close(descriptor) }
    }

    /// AVI repeats frames to fill the time between two of them.
    private static func hasTimes(_ container: String) -> Bool { container != "avi" }

    var encoder: String { String(cString: cm_movie_encoder(movie)) }
    var hasTimes: Bool { Self.hasTimes(container) }
    var skippedFrames: Int { Int(cm_movie_dropped(movie)) }

    func append(_ rgb: UnsafeRawBufferPointer, at seconds: Double?) throws(SwanError) {
        let bytes = rgb.assumingMemoryBound(to: UInt8.self)
        let time = hasTimes ? seconds ?? -1 : -1
        try calling(name) { cm_movie_append(movie, bytes.baseAddress, time, $0) }
    }

    func finish(keepingAudio: Bool) throws(SwanError) -> WrittenAudio {
        try calling(name) { cm_movie_finish(movie, keepingAudio, $0) }
        try file.take()?.commit()
        return WrittenAudio(
            isPresent: cm_movie_has_audio(movie),
            damagedPackets: Int(cm_movie_damaged_audio(movie))
        )
    }

    func copyAudio(from path: String, track: MediaTrack?) -> AudioCopy {
        do throws(SwanError) {
            let name = path == "-" ? "standard input" : path
            let index = Int32(clamping: track?.index ?? -1)
            try calling(name) { cm_movie_carry(movie, path, index, $0) }
        } catch {
            return .skipped(reason: error.message)
        }
        guard let encoder = cm_movie_audio_encoder(movie), let codec = cm_movie_audio_codec(movie)
        else { return .copied }
        return .encoded(from: String(cString: codec), by: String(cString: encoder))
    }
}

/// Throws if standard output is a terminal, which shows bytes as garbage.
func requireNoTerminal() throws(SwanError) {
    guard isatty(STDOUT_FILENO) == 1 else { return }
    throw SwanError(
        .cannotWrite,
        "standard output: is a terminal; redirect it to a program or a file"
    )
}

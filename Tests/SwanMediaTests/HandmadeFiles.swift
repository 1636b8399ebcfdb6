/// Small files built byte by byte that the writer cannot produce.
enum Handmade {
    /// A GIF of uniformly gray 8x8 frames, each with its own duration in hundredths of a second.
    static func gif(_ frames: [(gray: UInt8, centiseconds: UInt8)]) -> [UInt8] {
        var bytes = Array("GIF89a".utf8) + [8, 0, 8, 0, 0xF6, 0, 0]
        for index in 0..<128 { bytes += [UInt8](repeating: UInt8(index * 2), count: 3) }
        for frame in frames {
            bytes += [0x21, 0xF9, 4, 0, frame.centiseconds, 0, 0, 0]
            bytes += [0x2C, 0, 0, 0, 0, 8, 0, 8, 0, 0]
            // 8-bit codes: clear, 64 pixels, end. There are too few for the code size to grow.
            let codes = [0x80] + [UInt8](repeating: frame.gray / 2, count: 64) + [0x81]
            bytes += [7, UInt8(codes.count)] + codes + [0]
        }
        return bytes + [0x3B]
    }

    /// A silent WAV file.
    static func wav(samples: Int) -> [UInt8] {
        let data = [UInt8](repeating: 0, count: samples * 2)
        return chunk(
            "RIFF",
            Array("WAVE".utf8) + chunk("fmt ", pcmFormat) + chunk("data", data),
        )
    }

    /// An AVI with uncompressed 16x16 video at 10 frames per second, and PCM audio of the same length.
    ///
    /// - Parameter soundTag: The declared audio codec, as a Microsoft format tag.
    static func avi(frames: Int, soundTag: Int = 1) -> [UInt8] {
        let picture = [UInt8](repeating: 128, count: 16 * 16 * 3)
        let sound = [UInt8](repeating: 1, count: 800 * 2)
        var movie = Array("movi".utf8)
        for _ in 0..<frames { movie += chunk("00db", picture) + chunk("01wb", sound) }

        let header = words(100_000, 0, 0, 0x10, frames, 0, 2, 768, 16, 16, 0, 0, 0, 0)
        let video =
            Array("vidsDIB ".utf8) + words(0, 0, 0, 1, 10, 0, frames, 768, -1, 0) + words(0, 0)
        let bitmap = words(40, 16, 16) + halves(1, 24) + words(0, 768, 0, 0, 0, 0)
        let audio =
            Array("auds".utf8) + words(0, 0, 0, 0, 2, 16000, 0, frames * 800, 1600, -1, 2)
            + words(0, 0)
        let streams =
            list("strl", chunk("strh", video) + chunk("strf", bitmap))
            + list(
                "strl",
                chunk("strh", audio) + chunk("strf", halves(soundTag) + pcmFormat.dropFirst(2))
            )
        let body =
            Array("AVI ".utf8) + list("hdrl", chunk("avih", header) + streams)
            + chunk("LIST", movie)
        return chunk("RIFF", body)
    }

    /// A JPEG that declares this size, followed by enough zero bytes to be plausible.
    static func jpegHeader(width: Int, height: Int) -> [UInt8] {
        let size = [UInt8(height >> 8), UInt8(height & 255), UInt8(width >> 8), UInt8(width & 255)]
        let quantization = [0xFF, 0xDB, 0, 67, 0] + [UInt8](repeating: 1, count: 64)
        let frame: [UInt8] =
            [0xFF, 0xC0, 0, 17, 8] + size + [3, 1, 0x22, 0, 2, 0x11, 0, 3, 0x11, 0]
        let scan: [UInt8] = [0xFF, 0xDA, 0, 12, 3, 1, 0, 2, 0, 3, 0, 0, 63, 0]
        return [0xFF, 0xD8] + quantization + frame + scan
            + [UInt8](repeating: 0, count: width * height / 200)
            + [0xFF, 0xD9]
    }

    /// Replaces the matrix in the track header of an MP4 file with one track.
    static func turn(_ mp4: [UInt8], matrix: [Int32]) -> [UInt8]? {
        let tag = Array("tkhd".utf8)
        guard let at = mp4.indices.first(where: { mp4[$0...].starts(with: tag) }) else {
            return nil
        }
        // Version 0: 4 bytes for version and flags, 20 for times and IDs, 16 for layer and volume.
        let start = at + 4 + 4 + 20 + 16
        var turned = mp4
        for (index, value) in matrix.enumerated() {
            let bits = UInt32(bitPattern: value)
            for byte in 0..<4 {
                turned[start + 4 * index + byte] = UInt8(bits >> (24 - 8 * byte) & 255)
            }
        }
        return turned
    }

    // 16-bit mono at 8000 samples per second.
    private static let pcmFormat = halves(1, 1) + words(8000, 16000) + halves(2, 16)

    private static func words(_ values: Int...) -> [UInt8] {
        values.flatMap { value in
            let bits = UInt32(truncatingIfNeeded: value)
            return (0..<4).map { UInt8(bits >> (8 * $0) & 255) }
        }
    }

    private static func halves(_ values: Int...) -> [UInt8] {
        values.flatMap { [UInt8($0 & 255), UInt8($0 >> 8)] }
    }

    private static func chunk(_ name: String, _ body: [UInt8]) -> [UInt8] {
        Array(name.utf8) + words(body.count) + body
    }

    private static func list(_ name: String, _ body: [UInt8]) -> [UInt8] {
        chunk("LIST", Array(name.utf8) + body)
    }
}

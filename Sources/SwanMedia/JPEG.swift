import CTurboJPEG
package import SwanSystem

/// JPEG pictures in memory, for live video: libjpeg-turbo takes a millisecond for 832x480 pixels.
///
/// Files are read by `readImage`, which also follows their orientation.
package enum JPEG {
    /// How many chroma samples are kept.
    package enum Chroma: Sendable {
        /// One for each pixel (4:4:4).
        case full
        /// One for four pixels (4:2:0).
        case quarter
    }

    /// Encodes a frame.
    ///
    /// - Parameter quality: 1 to 100.
    package static func encode(
        _ frame: VideoFrame,
        quality: Int,
        chroma: Chroma = .full
    ) throws(SwanError) -> [UInt8] {
        try frame.withUnsafeBytes { (rgb) throws(SwanError) in
            try encode(rgb, width: frame.width, height: frame.height, quality: quality, chroma)
        }
    }

    /// Encodes packed RGB24 bytes.
    ///
    /// - Parameter isFast: Whether the transform may round roughly.
    static func encode(
        _ rgb: UnsafeRawBufferPointer,
        width: Int,
        height: Int,
        quality: Int,
        _ chroma: Chroma = .full,
        isFast: Bool = true
    ) throws(SwanError) -> [UInt8] {
        guard let codec = tjInitCompress() else { throw failure(nil, "encoded") }
        defer { tjDestroy(codec) }
        let samples = Int32((chroma == .full ? TJSAMP_444 : TJSAMP_420).rawValue)
        let (width, height) = (Int32(clamping: width), Int32(clamping: height))
        let source = rgb.assumingMemoryBound(to: UInt8.self).baseAddress
        var size = tjBufSize(width, height, samples)
        var bytes = [UInt8](repeating: 0, count: Int(size))
        let status = bytes.withUnsafeMutableBufferPointer { target in
            var start = target.baseAddress
            return tjCompress2(
                codec,
                source,
                width,
                3 * width,
                height,
                Int32(TJPF_RGB.rawValue),
                &start,
                &size,
                samples,
                Int32(min(max(quality, 1), 100)),
                TJFLAG_NOREALLOC | (isFast ? TJFLAG_FASTDCT : TJFLAG_ACCURATEDCT)
            )
        }
        guard status == 0 else { throw failure(codec, "encoded") }
        bytes.removeLast(bytes.count - Int(size))
        return bytes
    }

    /// Decodes a picture.
    ///
    /// - Parameter maxPixels: Larger pictures are refused by their header, before memory is allocated.
    /// - Throws: `decoder` for damaged pictures, `tooLarge` for large ones.
    package static func decode(
        _ bytes: UnsafeRawBufferPointer,
        maxPixels: Int
    ) throws(SwanError) -> VideoFrame {
        guard let codec = tjInitDecompress() else { throw failure(nil, "decoded") }
        defer { tjDestroy(codec) }
        let start = bytes.assumingMemoryBound(to: UInt8.self).baseAddress
        let count = UInt(bytes.count)
        var (width, height, samples, space) = (Int32(0), Int32(0), Int32(0), Int32(0))
        guard
            tjDecompressHeader3(codec, start, count, &width, &height, &samples, &space) == 0,
            width > 0, height > 0
        else { throw failure(codec, "decoded") }
        guard Int(width) * Int(height) <= maxPixels else {
            throw SwanError(
                .tooLarge,
                "the picture has \(width)x\(height) pixels; the maximum is \(maxPixels) pixels"
            )
        }
        return try VideoFrame(width: Int(width), height: Int(height)) {
            (target) throws(SwanError) in
            let status = tjDecompress2(
                codec,
                start,
                count,
                target.assumingMemoryBound(to: UInt8.self).baseAddress,
                width,
                3 * width,
                height,
                Int32(TJPF_RGB.rawValue),
                // A warning means data that is missing or corrupt.
                TJFLAG_STOPONWARNING
            )
            guard status == 0 else { throw failure(codec, "decoded") }
        }
    }

    private static func failure(_ codec: tjhandle?, _ doing: String) -> SwanError {
        let reason = String(cString: tjGetErrorStr2(codec)).printable()
        return SwanError(
            doing == "decoded" ? .decoder : .encoder,
            "the JPEG picture cannot be \(doing): \(reason)"
        )
    }
}

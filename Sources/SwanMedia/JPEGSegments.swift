/// The segments of a JPEG file (ITU-T T.81, annex B).
///
/// Cameras and programs often write slightly invalid application segments. The decoder is
/// configured to reject damage, so these segments are removed first.
struct JPEGSegments {
    /// The TIFF structure of the EXIF segment.
    private(set) var exif: Range<Int>?
    /// Application data and comments, which do not affect the pixels.
    private(set) var metadata: [Range<Int>] = []
    /// Whether there is an end marker after the first scan.
    private(set) var isComplete = false

    /// Parses the segments; `nil` if the file is not a JPEG.
    init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.starts(with: [0xFF, 0xD8, 0xFF]) else { return nil }
        var at = 2
        while at + 4 <= bytes.count, bytes[at] == 0xFF {
            let marker = bytes[at + 1]
            // A fill byte before the marker.
            if marker == 0xFF {
                at += 1
                continue
            }
            let end = at + 2 + Int(bytes[at + 2]) << 8 + Int(bytes[at + 3])
            guard (at + 4...bytes.count).contains(end), marker != 0xDA else { break }
            if marker == 0xE1, exif == nil,
                bytes[(at + 4)..<end].starts(with: Array("Exif\0\0".utf8))
            {
                exif = (at + 10)..<end
            }
            // Keep JFIF's (0) and Adobe's (14) segments, which describe the components.
            if marker == 0xFE || (0xE1...0xEF).contains(marker) && marker != 0xEE {
                metadata.append(at..<end)
            }
            at = end
        }
        var last = bytes.count - 1
        while last > at, !(bytes[last] == 0xD9 && bytes[last - 1] == 0xFF) { last -= 1 }
        isComplete = last > at
    }

    /// The file without its metadata.
    func plain(_ bytes: UnsafeRawBufferPointer) -> [UInt8] {
        var kept: [UInt8] = []
        kept.reserveCapacity(bytes.count)
        var at = 0
        for part in metadata {
            kept += bytes[at..<part.lowerBound]
            at = part.upperBound
        }
        return kept + bytes[at...]
    }
}

/// Where the parts of a JPEG file lie.
///
/// ITU-T T.81, annex B. What cameras and programs put into application segments is often not quite
/// as it should be, so the decoder, which is told to refuse damage, is not shown it.
struct JPEGSegments {
    /// The TIFF structure of the EXIF segment.
    private(set) var exif: Range<Int>?
    /// Application data and comments that say nothing about the pixels.
    private(set) var metadata: [Range<Int>] = []
    /// The end marker is there, behind the first scan.
    private(set) var isComplete = false

    /// `nil` where the file is no JPEG.
    init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.starts(with: [0xFF, 0xD8, 0xFF]) else { return nil }
        var at = 2
        while at + 4 <= bytes.count, bytes[at] == 0xFF {
            let marker = bytes[at + 1]
            // A byte that fills, before the marker.
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
            // Kept: JFIF's (0) and Adobe's (14), which say what the components are.
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

/// The EXIF orientation tag: how to rotate or mirror a stored image to display it upright.
///
/// CIPA DC-008 (EXIF 2.32), 4.6.4: the number says where the first row and the first column of the
/// stored image are in the displayed one.
enum EXIFOrientation: Int {
    case upright = 1, mirrored, rotated180, flipped, transposed, clockwise, transversed,
        counterclockwise

    /// The orientation of a JPEG, PNG, WebP or TIFF file; upright if it has no valid tag.
    init(of file: UnsafeRawBufferPointer) {
        let bytes = ByteView(file)
        if let jpeg = JPEGSegments(file) {
            self = jpeg.exif.flatMap { Self.tag(bytes.part($0)) } ?? .upright
        } else {
            self = Self.tag(Self.png(bytes) ?? Self.webP(bytes) ?? bytes) ?? .upright
        }
    }

    /// Whether rows become columns.
    var isTransposed: Bool { rawValue >= Self.transposed.rawValue }

    /// The tag in the first directory of a TIFF file, which is also the format of an EXIF block.
    private static func tag(_ tiff: ByteView) -> EXIFOrientation? {
        let order: ByteView.Order
        switch tiff.text(0, 4) {
        case "II*\0": order = .little
        case "MM\0*": order = .big
        default: return nil
        }
        guard let directory = tiff.number(4, 4, order), let count = tiff.number(directory, 2, order)
        else { return nil }
        for entry in 0..<count {
            let at = directory + 2 + 12 * entry
            guard let tag = tiff.number(at, 2, order) else { return nil }
            if tag == 0x0112 {
                return tiff.number(at + 8, 2, order).flatMap(EXIFOrientation.init(rawValue:))
            }
        }
        return nil
    }

    private static func png(_ bytes: ByteView) -> ByteView? {
        guard bytes.text(1, 3) == "PNG" else { return nil }
        var at = 8
        while let size = bytes.number(at, 4, .big) {
            if bytes.text(at + 4, 4) == "eXIf" { return bytes.from(at + 8) }
            at += 12 + size
        }
        return ByteView.empty
    }

    private static func webP(_ bytes: ByteView) -> ByteView? {
        guard bytes.text(0, 4) == "RIFF", bytes.text(8, 4) == "WEBP" else { return nil }
        var at = 12
        while let size = bytes.number(at + 4, 4, .little) {
            if bytes.text(at, 4) == "EXIF" {
                // Some writers put JPEG's prefix before it.
                return bytes.from(at + 8 + (bytes.text(at + 8, 6) == "Exif\0\0" ? 6 : 0))
            }
            at += 8 + size + size % 2
        }
        return ByteView.empty
    }
}

extension VideoFrame {
    /// The upright frame of one that is stored with an orientation.
    func upright(from orientation: EXIFOrientation) -> VideoFrame {
        if orientation == .upright { return self }
        let (wide, high) = orientation.isTransposed ? (height, width) : (width, height)
        return VideoFrame(width: wide, height: high, seconds: seconds) { target in
            for y in 0..<high {
                for x in 0..<wide {
                    let (column, row) =
                        switch orientation {
                        case .upright: (x, y)
                        case .mirrored: (width - 1 - x, y)
                        case .rotated180: (width - 1 - x, height - 1 - y)
                        case .flipped: (x, height - 1 - y)
                        case .transposed: (y, x)
                        case .clockwise: (y, height - 1 - x)
                        case .transversed: (width - 1 - y, height - 1 - x)
                        case .counterclockwise: (width - 1 - y, x)
                        }
                    let (from, to) = (3 * (row * width + column), 3 * (y * wide + x))
                    for channel in 0..<3 { target[to + channel] = pixels[from + channel] }
                }
            }
        }
    }
}

/// Bounds-checked access to bytes.
private struct ByteView {
    enum Order { case little, big }

    private let bytes: UnsafeRawBufferPointer

    static var empty: ByteView { ByteView(UnsafeRawBufferPointer(start: nil, count: 0)) }

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    func number(_ at: Int, _ count: Int, _ order: Order) -> Int? {
        guard at >= 0, at + count <= bytes.count else { return nil }
        let part = bytes[at..<(at + count)]
        let digits = order == .big ? Array(part) : part.reversed()
        return digits.reduce(0) { $0 << 8 | Int($1) }
    }

    func text(_ at: Int, _ count: Int) -> String? {
        guard at >= 0, at + count <= bytes.count else { return nil }
        return String(decoding: bytes[at..<(at + count)], as: Unicode.ASCII.self)
    }

    func from(_ at: Int) -> ByteView { part(min(at, bytes.count)..<bytes.count) }

    func part(_ range: Range<Int>) -> ByteView {
        ByteView(UnsafeRawBufferPointer(rebasing: bytes[range]))
    }
}

/// Decodes altered UTF-8: bytes A0 that became spaces, lost bytes, and the encodings of Java and
/// CESU-8.
enum DamagedUTF8 {
    private static let space: UInt8 = 0x20
    private static let noBreak: UInt8 = 0xA0
    /// Represents a lost byte (see `CodePage.isSloppy`).
    private static let lost: UInt8 = 0x1A

    // MARK: Spaces that were byte A0

    /// Whether a space in `bytes` would complete a likely UTF-8 sequence if it were byte A0.
    static func hasSpacesForA0(_ bytes: [UInt8]) -> Bool {
        bytes.indices.contains { alteredSequence.length(in: bytes, at: $0) != nil }
    }

    /// Restores byte A0 where a space has replaced it in a likely UTF-8 sequence.
    static func restoringA0(_ bytes: [UInt8]) -> [UInt8] {
        replacing(alteredSequence, in: separatingGraveWords(bytes)) { sequence in
            sequence.map { $0 == space ? noBreak : $0 }
        }
    }

    /// The second byte of the word `à` was merged with the following space, as in `Ã la carte`.
    /// Restores both the byte and the space, except in Portuguese words that start with `à` (às,
    /// àquele, àquela, àquilo).
    private static func separatingGraveWords(_ bytes: [UInt8]) -> [UInt8] {
        let grave: [UInt8] = [0xC3, space]
        let joined = [" ", "quele", "quela", "quilo", "s "].map { Array($0.utf8) }
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count)
        var index = 0
        while index < bytes.count {
            let after = bytes[index...].dropFirst(grave.count)
            if bytes[index...].starts(with: grave), !joined.contains(where: after.starts(with:)) {
                result += [0xC3, noBreak, space]
                index += grave.count
            } else {
                result.append(bytes[index])
                index += 1
            }
        }
        return result
    }

    private static let alteredSequence = BytePattern([
        // After these lead bytes, A0 gives a scalar that is likely in text.
        [[0xC2...0xC3, 0xC5...0xC5, 0xCE...0xCE, 0xD0...0xD0, 0xD9...0xD9], [space...space]],
        [[0xE2...0xE3], [space...space], [0x80...0x84, 0x86...0x9F, 0xA1...0xBF]],
        [[0xE0...0xE3], [0x80...0x84, 0x86...0x9F, 0xA1...0xBF], [space...space]],
        [[0xF0...0xF0], [space...space], [0x80...0xBF], [0x80...0xBF]],
        [[0xF0...0xF0], [0x80...0xBF], [space...space], [0x80...0xBF]],
        [[0xF0...0xF0], [0x80...0xBF], [0x80...0xBF], [space...space]],
    ])

    // MARK: Lost bytes

    /// Replaces each UTF-8 sequence that lost a byte by U+FFFD.
    static func markingLosses(_ bytes: [UInt8]) -> [UInt8] {
        replacing(lossySequence, in: bytes) { _ in [0xEF, 0xBF, 0xBD] }
    }

    private static let lossySequence: BytePattern = {
        let loss: ByteSet = [lost...lost]
        // A question mark may also represent a lost byte, at most once per sequence.
        let likelyLoss: ByteSet = [lost...lost, 0x3F...0x3F]
        let rest: ByteSet = [lost...lost, 0x80...0xBF]
        let restOrMark: ByteSet = [lost...lost, 0x3F...0x3F, 0x80...0xBF]
        let high: [ByteSet] = [[0xED...0xED], [0xA0...0xAF]]
        let low: [ByteSet] = [[0xED...0xED], [0xB0...0xBF]]
        return BytePattern([
            [[0xC2...0xDF], loss],
            [[0xC2...0xC3], [0x3F...0x3F]],
            high + [likelyLoss] + low + [restOrMark],
            high + [restOrMark] + low + [likelyLoss],
            [[0xE0...0xEF], likelyLoss, rest],
            [[0xE0...0xEF], rest, likelyLoss],
            [[0xF0...0xF4], likelyLoss, rest, rest],
            [[0xF0...0xF4], rest, likelyLoss, rest],
            [[0xF0...0xF4], rest, rest, likelyLoss],
            [loss],
        ])
    }()

    // MARK: Decoding

    /// Decodes UTF-8; nil if the bytes are invalid. Also decodes surrogate pairs of three bytes
    /// each (CESU-8) and the two-byte zero (Java).
    static func decode(_ bytes: [UInt8]) -> [Unicode.Scalar]? {
        let hasVariants = bytes.contains { $0 == 0xED || $0 == 0xC0 }
        guard hasVariants else { return decodeStrictly(bytes[...]) }
        var text: [Unicode.Scalar] = []
        var plainStart = 0
        var index = 0
        while index < bytes.count {
            guard let (scalar, length) = variant(in: bytes, at: index) else {
                index += 1
                continue
            }
            guard let plain = decodeStrictly(bytes[plainStart..<index]) else { return nil }
            text += plain + [scalar]
            index += length
            plainStart = index
        }
        guard let plain = decodeStrictly(bytes[plainStart...]) else { return nil }
        return text + plain
    }

    private static func decodeStrictly(_ bytes: ArraySlice<UInt8>) -> [Unicode.Scalar]? {
        String(validating: bytes, as: UTF8.self).map { Array($0.unicodeScalars) }
    }

    /// The scalar and the length of a CESU-8 pair or a Java zero.
    ///
    /// Like the reference's patterns, this accepts a final line feed in place of any missing byte
    /// of a sequence, and consumes it.
    private static func variant(in bytes: [UInt8], at start: Int) -> (Unicode.Scalar, Int)? {
        let places: [ClosedRange<UInt8>]
        switch bytes[start] {
        case 0xC0: places = [0x80...0x80]
        case 0xED: places = [0xA0...0xAF, 0x80...0xBF, 0xED...0xED, 0xB0...0xBF, 0x80...0xBF]
        default: return nil
        }
        guard start + places.count < bytes.count else { return nil }
        let sequence = bytes[start...].prefix(places.count + 1)
        for (index, place) in zip((start + 1)..., places) where !place.contains(bytes[index]) {
            let isFinalFeed = bytes[index] == 0x0A && index == bytes.count - 1
            guard isFinalFeed else { return nil }
        }
        if places.count == 1 { return ("\u{0}", 2) }
        let bits = sequence.map { UInt32($0) }
        let high = (bits[1] & 0x0F) << 16 | (bits[2] & 0x3F) << 10
        let low = (bits[4] & 0x0F) << 6 | (bits[5] & 0x3F)
        return Unicode.Scalar(0x10000 + (high | low)).map { ($0, sequence.count) }
    }

    private static func replacing(
        _ pattern: BytePattern,
        in bytes: [UInt8],
        with replacement: (ArraySlice<UInt8>) -> [UInt8],
    ) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count)
        var index = 0
        while index < bytes.count {
            if let length = pattern.length(in: bytes, at: index) {
                result += replacement(bytes[index..<index + length])
                index += length
            } else {
                result.append(bytes[index])
                index += 1
            }
        }
        return result
    }
}

/// A set of byte values.
private struct ByteSet: ExpressibleByArrayLiteral, Sendable {
    private let members: [Bool]

    init(arrayLiteral ranges: ClosedRange<UInt8>...) {
        members = (0...255).map { byte in ranges.contains { $0.contains(byte) } }
    }

    func contains(_ byte: UInt8) -> Bool { members[Int(byte)] }
}

/// Alternative sequences of byte sets, of which the first match is used.
private struct BytePattern: Sendable {
    private let alternatives: [[ByteSet]]

    init(_ alternatives: [[ByteSet]]) {
        self.alternatives = alternatives
    }

    func length(in bytes: [UInt8], at start: Int) -> Int? {
        alternatives.first { alternative in
            start + alternative.count <= bytes.count
                && alternative.indices.allSatisfy { alternative[$0].contains(bytes[start + $0]) }
        }?.count
    }
}

/// Checks what the SentencePiece library trusts blindly in a model file: its table of
/// normalization rules, whose indices would otherwise lead it out of its memory, and the length of
/// pieces, for each byte of which it recurses once when it builds its index.
///
/// The rules are a Darts-clone double array (Yata, "Darts-clone") of their sources, whose values
/// are offsets of their targets in a list of zero-terminated strings.
enum ModelCheck {
    /// A description of the first problem in a serialized model; nil if it is safe to load.
    static func fault(in model: [UInt8]) -> String? {
        guard let fields = messages(in: model[...]) else { return "it is damaged" }
        if let long = fields.first(where: { $0.number == piece && $0.bytes.count > longestPiece }) {
            return "a piece of its vocabulary has \(long.bytes.count) bytes, "
                + "the limit is \(longestPiece)"
        }
        for spec in fields where spec.number == normalizer || spec.number == denormalizer {
            guard let parts = messages(in: spec.bytes) else { return "it is damaged" }
            for table in parts where table.number == charsMap && !table.bytes.isEmpty {
                guard isValid(table: table.bytes) else {
                    return "its table of normalization rules is damaged"
                }
            }
        }
        return nil
    }

    /// The table of normalization rules of a serialized model; empty without one.
    static func rules(in model: [UInt8]) -> [UInt8] {
        let spec = messages(in: model[...])?.last { $0.number == normalizer }
        let table = spec.flatMap { messages(in: $0.bytes) }?.last { $0.number == charsMap }
        return table.map { Array($0.bytes) } ?? []
    }

    /// The pieces that a model's trainer was told to keep whole, such as `<extra_id_0>`.
    static func userDefinedPieces(in model: [UInt8]) -> [String] {
        let pieces = messages(in: model[...])?.filter { $0.number == piece } ?? []
        return pieces.compactMap { piece in
            // The kind is the number in field 3; most pieces have none.
            var rest = piece.bytes
            var (text, isUserDefined) = (ArraySlice<UInt8>(), false)
            while let key = readVarint(&rest) {
                switch key & 7 {
                case 0:
                    guard let value = readVarint(&rest) else { return nil }
                    if key >> 3 == 3 { isUserDefined = value == 4 }
                case 2:
                    guard let size = readVarint(&rest), size <= rest.count else { return nil }
                    if key >> 3 == 1 { text = rest.prefix(Int(size)) }
                    rest = rest.dropFirst(Int(size))
                case 1: rest = rest.dropFirst(8)
                default: rest = rest.dropFirst(4)
                }
            }
            return isUserDefined ? String(decoding: text, as: UTF8.self) : nil
        }
    }

    // Field numbers of sentencepiece_model.proto.
    private static let piece = 1
    private static let normalizer = 3
    private static let denormalizer = 5
    private static let charsMap = 2

    /// Bytes of a piece at most, its score and kind included; UMT5's longest has fewer than 100.
    private static let longestPiece = 1_000

    // MARK: Protocol buffers

    private struct Field {
        let number: Int
        let bytes: ArraySlice<UInt8>
    }

    /// The fields of a message that hold bytes; nil if the message is malformed.
    private static func messages(in message: ArraySlice<UInt8>) -> [Field]? {
        var rest = message
        var fields: [Field] = []
        while !rest.isEmpty {
            // Of a longer key the library would read the lower half.
            guard let key = readVarint(&rest), key <= UInt32.max else { return nil }
            let length: Int
            switch key & 7 {
            case 0:
                guard readVarint(&rest) != nil else { return nil }
                continue
            case 1: length = 8
            case 2:
                guard let size = readVarint(&rest), size <= rest.count else { return nil }
                length = Int(size)
                fields.append(Field(number: Int(key >> 3), bytes: rest.prefix(length)))
            case 5: length = 4
            default: return nil
            }
            guard length <= rest.count else { return nil }
            rest = rest.dropFirst(length)
        }
        return fields
    }

    private static func readVarint(_ rest: inout ArraySlice<UInt8>) -> UInt64? {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 64, by: 7) {
            guard let byte = rest.popFirst() else { return nil }
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
        }
        return nil
    }

    // MARK: The double array

    private static func isValid(table: ArraySlice<UInt8>) -> Bool {
        guard let size = word(table), size % 4 == 0, size > 0, Int(size) <= table.count - 4 else {
            return false
        }
        let array = table.dropFirst(4).prefix(Int(size))
        let targets = table.dropFirst(4 + Int(size))
        guard targets.last == 0 else { return false }
        let units = stride(from: array.startIndex, to: array.endIndex, by: 4)
            .compactMap { word(array[$0...]) }
        return units.indices.allSatisfy { index in
            let unit = units[index]
            let isValue = unit >> 31 == 1
            if isValue { return true }
            // The children of a unit are at its base index XOR their byte.
            let base = index ^ Int((unit >> 10) << ((unit & 0x200) >> 6))
            guard base | 0xFF < units.count else { return false }
            let hasValue = unit & 0x100 != 0
            return !hasValue || Int(units[base] & 0x7FFF_FFFF) < targets.count
        }
    }

    private static func word(_ bytes: ArraySlice<UInt8>) -> UInt32? {
        guard bytes.count >= 4 else { return nil }
        return bytes.prefix(4).reversed().reduce(0) { $0 << 8 | UInt32($1) }
    }
}

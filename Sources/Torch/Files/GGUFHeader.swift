import SwanSystem

/// The header of a GGUF file, checked: metadata, and where the tensors are.
///
/// The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
struct GGUFHeader {
    /// The description of a tensor.
    struct Entry: Sendable {
        /// The size of every dimension, the slowest first.
        let shape: [Int]
        let type: GGUFType
        /// The range of the bytes in the file.
        let range: Range<Int>
    }

    private(set) var entries: [String: Entry] = [:]
    private(set) var metadata: [String: GGUFValue] = [:]

    static let magic = Array("GGUF".utf8)
    private static let mostTensors = 250_000
    private static let mostValues = 250_000
    private static let longestKey = 2_000
    private static let mostDimensions = 8
    private static let shapeKey = "comfy.gguf.orig_shape."

    init(_ file: MappedFile) throws(SwanError) {
        var reader = ByteReader(file.bytes, at: Self.magic.count)
        do {
            let (tensors, values) = try Self.counts(&reader, file)
            for _ in 0..<values { try readValue(&reader, file) }
            var found: [(key: String, shape: [Int], type: GGUFType, offset: Int)] = []
            for _ in 0..<tensors { found.append(try tensor(&reader, file)) }
            try place(found, after: reader.offset, file)
        } catch let error as SwanError {
            throw error
        } catch {
            throw file.invalid(
                "is a GGUF file that is cut short within its header; \(Advice.again)"
            )
        }
        try file.requireWhole()
    }

    private static func counts(
        _ reader: inout ByteReader,
        _ file: MappedFile
    ) throws -> (tensors: Int, values: Int) {
        let version: UInt32 = try reader.integer()
        guard version & 0xFFFF != 0 else {
            throw file.invalid("is a GGUF file for big-endian machines, which is not supported")
        }
        guard version == 2 || version == 3 else {
            throw file.invalid("is a GGUF file of version \(version); 2 and 3 are supported")
        }
        let tensors = Int(clamping: try reader.integer(UInt64.self))
        let values = Int(clamping: try reader.integer(UInt64.self))
        guard tensors > 0 else { throw file.invalid("is a GGUF file without tensors") }
        guard tensors <= mostTensors, values <= mostValues else {
            throw file.invalid(
                "the GGUF header claims \(tensors) tensors and \(values) values; at most"
                    + " \(mostTensors) and \(mostValues) are supported"
            )
        }
        return (tensors, values)
    }

    private static func name(
        _ reader: inout ByteReader,
        _ file: MappedFile,
        _ what: String
    ) throws -> String {
        let range = try reader.text()
        guard range.count <= longestKey,
            let name = String(validating: file.bytes[range], as: UTF8.self)
        else {
            throw file.invalid(
                "the name of a \(what) in the GGUF header is not UTF-8 of at most \(longestKey) bytes"
            )
        }
        return name
    }

    private mutating func readValue(_ reader: inout ByteReader, _ file: MappedFile) throws {
        let key = try Self.name(&reader, file, "value")
        let type = try reader.integer(UInt32.self)
        let value: GGUFValue
        do {
            value = try reader.value(type)
        } catch {
            switch error {
            case .end: throw ByteReader.End()
            case .nested: throw file.invalid("the GGUF value \(key) has arrays in an array")
            case .type(let type):
                throw file.invalid("the GGUF value \(key) has the unknown type \(type)")
            }
        }
        guard metadata.updateValue(value, forKey: key) == nil else {
            throw file.invalid("the GGUF value \(key) occurs twice")
        }
    }

    private func tensor(
        _ reader: inout ByteReader,
        _ file: MappedFile
    ) throws -> (key: String, shape: [Int], type: GGUFType, offset: Int) {
        let key = try Self.name(&reader, file, "tensor")
        let rank = Int(try reader.integer(UInt32.self))
        guard rank <= Self.mostDimensions else {
            throw file.invalid(
                "the tensor \(key) has \(rank) dimensions; at most \(Self.mostDimensions) are supported"
            )
        }
        var shape: [Int] = []
        // The fastest dimension is stored first.
        for _ in 0..<rank { shape.insert(Int(clamping: try reader.integer(UInt64.self)), at: 0) }
        let number = try reader.integer(UInt32.self)
        let offset = Int(clamping: try reader.integer(UInt64.self))
        guard let type = GGUFType(number) else {
            throw file.invalid(
                "the tensor \(key) has the type \(GGUFType.name(of: number)), which is not supported;"
                    + " supported: \(GGUFType.supported)"
            )
        }
        return (key, shape, type, offset)
    }

    /// Checks where the tensors are: aligned, within the file, and apart from each other.
    private mutating func place(
        _ found: [(key: String, shape: [Int], type: GGUFType, offset: Int)],
        after header: Int,
        _ file: MappedFile
    ) throws(SwanError) {
        let alignment = try alignment(file)
        let start = (header + alignment - 1) / alignment * alignment
        var end = 0
        for (key, shape, type, offset) in found {
            guard let bytes = type.byteCount(shape) else {
                throw file.invalid(
                    "the tensor \(key) of type \(type.name) has the shape \(shape), which is too"
                        + " large or does not consist of whole blocks"
                )
            }
            guard offset % alignment == 0 else {
                throw file.invalid(
                    "the tensor \(key) begins at \(offset), which is not a multiple of the alignment"
                        + " \(alignment)"
                )
            }
            let (first, over) = start.addingReportingOverflow(offset)
            let (last, overflow) = first.addingReportingOverflow(bytes)
            guard !over, !overflow else {
                throw file.invalid("the tensor \(key) begins at \(offset), beyond any file")
            }
            end = max(end, last)
            let entry = Entry(
                shape: try original(shape, of: key, file),
                type: type,
                range: first..<last
            )
            guard entries.updateValue(entry, forKey: key) == nil else {
                throw file.invalid("the tensor \(key) occurs twice in the GGUF header")
            }
        }
        guard end <= file.count else { throw file.cut(needing: end) }
        try checkOverlaps(file)
    }

    private func alignment(_ file: MappedFile) throws(SwanError) -> Int {
        guard let value = metadata["general.alignment"] else { return 32 }
        guard case .integer(let alignment) = value, 1...65_536 ~= alignment,
            alignment & (alignment - 1) == 0
        else {
            throw file.invalid("general.alignment is not a power of two up to 65536")
        }
        return alignment
    }

    /// The shape before a converter reshaped a tensor into one that the format supports.
    private func original(
        _ shape: [Int],
        of key: String,
        _ file: MappedFile
    ) throws(SwanError) -> [Int] {
        guard let value = metadata[Self.shapeKey + key] else { return shape }
        guard case .array(let type, let count, let bytes) = value,
            count <= Self.mostDimensions
        else { throw file.invalid("\(Self.shapeKey)\(key) is not a shape") }
        var reader = ByteReader(file.bytes, at: bytes.lowerBound)
        var sizes: [Int] = []
        do {
            for _ in 0..<count {
                guard case .integer(let size) = try reader.value(type) else {
                    throw ByteReader.ValueFailure.type(type)
                }
                sizes.append(size)
            }
        } catch {
            throw file.invalid("\(Self.shapeKey)\(key) is not a list of integers")
        }
        guard let wanted = TensorExtent.byteCount(sizes, .uint8),
            wanted == TensorExtent.byteCount(shape, .uint8)
        else {
            throw file.invalid(
                "\(Self.shapeKey)\(key) is \(sizes), which has another size than the tensor's \(shape)"
            )
        }
        return sizes
    }

    private func checkOverlaps(_ file: MappedFile) throws(SwanError) {
        let order = entries.filter { !$0.value.range.isEmpty }
            .sorted { $0.value.range.lowerBound < $1.value.range.lowerBound }
        for (one, next) in zip(order, order.dropFirst())
        where one.value.range.upperBound > next.value.range.lowerBound {
            throw file.invalid("the tensors \(one.key) and \(next.key) overlap")
        }
    }
}

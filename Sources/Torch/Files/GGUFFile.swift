public import SwanSystem

/// A GGUF file, mapped into memory: weights as quantized for ComfyUI and llama.cpp.
///
/// The header is checked when the file is opened. The tensors are views of the file, in blocks if
/// they are quantized; data is read only when it is used.
public final class GGUFFile: Sendable {
    /// The header's description of one tensor.
    public struct Entry: Sendable, Equatable {
        /// The size of every dimension.
        public let shape: [Int]
        /// The format of the blocks; nil for plain numbers.
        public let format: BlockFormat?
        /// The type of the elements; float32, in which they are computed, for blocks.
        public let dtype: DType
        /// The size in the file in bytes.
        public let byteCount: Int
    }

    private let header: GGUFHeader
    private let file: MappedFile

    /// Maps a file and checks its header.
    public init(path: String) throws(SwanError) {
        file = try MappedFile(path: path)
        guard file.bytes.starts(with: GGUFHeader.magic) else {
            throw file.invalid("is not a GGUF file")
        }
        header = try GGUFHeader(file)
    }

    /// The path that the file was opened with.
    public var path: String { file.path }

    /// The names of the tensors, sorted.
    public var keys: [String] { header.entries.keys.sorted() }

    /// Throws if the file was changed in any way since it was opened.
    public func requireUnchanged() throws(SwanError) { try file.requireUnchanged() }

    /// The description of the tensor under a key; nil if there is no such key.
    public func entry(_ key: String) -> Entry? {
        guard let entry = header.entries[key] else { return nil }
        let (shape, size) = (entry.shape, entry.range.count)
        switch entry.type {
        case .plain(let dtype):
            return Entry(shape: shape, format: nil, dtype: dtype, byteCount: size)
        case .blocks(let format):
            return Entry(shape: shape, format: format, dtype: .float32, byteCount: size)
        }
    }

    /// Returns the tensor under a key as stored: a view of the file, which stays mapped for the
    /// lifetime of the view.
    ///
    /// A tensor in blocks is uint8: [..., bytes of a row] if rows of its shape are whole blocks, else
    /// [blocks, bytes of a block].
    public func tensor(_ key: String) throws(SwanError) -> Tensor {
        guard let entry = header.entries[key] else {
            throw SwanError(.invalidWeights, "\(path): there is no tensor \(key)")
        }
        let start = entry.range.lowerBound
        switch entry.type {
        case .plain(let dtype): return try file.tensor(at: start, entry.shape, dtype)
        case .blocks(let format):
            guard let row = entry.shape.last, row % format.elements == 0 else {
                let blocks = entry.range.count / format.byteCount
                return try file.tensor(at: start, [blocks, format.byteCount], .uint8)
            }
            let bytes = row / format.elements * format.byteCount
            return try file.tensor(at: start, entry.shape.dropLast() + [bytes], .uint8)
        }
    }

    // MARK: - Metadata

    /// The longest text that is returned.
    private static let longestText = 1 << 16

    /// The text under a key of the metadata; nil if there is none.
    public func text(_ key: String) -> String? {
        guard case .text(let range)? = header.metadata[key], range.count <= Self.longestText else {
            return nil
        }
        return String(validating: file.bytes[range], as: UTF8.self)
    }

    /// The texts in an array of the metadata, as bytes; nil if there is none.
    package func texts(_ key: String) -> [[UInt8]]? {
        guard case .array(let type, let count, let bytes)? = header.metadata[key],
            type == GGUFValue.Kind.string.rawValue
        else { return nil }
        var reader = ByteReader(file.bytes, at: bytes.lowerBound)
        var texts: [[UInt8]] = []
        texts.reserveCapacity(count)
        for _ in 0..<count {
            // The ranges were checked when the file was opened.
            guard let range = try? reader.text() else { return nil }
            texts.append([UInt8](file.bytes[range]))
        }
        return texts
    }

    /// The numbers in an array of the metadata; nil if there is none.
    package func numbers(_ key: String) -> [Double]? {
        guard case .array(let type, let count, let bytes)? = header.metadata[key] else {
            return nil
        }
        var reader = ByteReader(file.bytes, at: bytes.lowerBound)
        var numbers: [Double] = []
        numbers.reserveCapacity(count)
        for _ in 0..<count {
            switch try? reader.value(type) {
            case .integer(let value): numbers.append(Double(value))
            case .number(let value): numbers.append(value)
            default: return nil
            }
        }
        return numbers
    }

    /// The integer or truth value under a key of the metadata; nil if there is none.
    public func integer(_ key: String) -> Int? {
        switch header.metadata[key] {
        case .integer(let value): value
        case .bool(let value): value ? 1 : 0
        default: nil
        }
    }
}

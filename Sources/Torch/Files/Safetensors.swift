/// A safetensors file, mapped into memory.
///
/// Everything that its header says is checked when it is opened, by the rules of the format's own
/// implementation: no overlaps, no holes, nothing behind the last tensor. After that the tensors are
/// views over the file; nothing is read before it is used.
public final class SafetensorsFile: Sendable {
    /// What the header says of one tensor.
    public struct Entry: Sendable, Equatable {
        /// The size of every dimension.
        public let shape: [Int]
        /// The type of the elements.
        public let dtype: DType
        /// Where the bytes lie behind the header.
        let range: Range<Int>
    }

    /// The text that the file carries beside its tensors.
    public let metadata: [String: String]
    private let entries: [String: Entry]
    private let file: MappedFile
    private let dataStart: Int

    /// Maps a file and checks its header.
    public init(path: String) throws(TorchError) {
        file = try MappedFile(path: path)
        let header = try SafetensorsHeader(file)
        metadata = header.metadata
        entries = header.entries
        dataStart = header.dataStart
    }

    /// The file's path, as it was given.
    public var path: String { file.path }

    /// The names of the tensors, sorted.
    public var keys: [String] { entries.keys.sorted() }

    /// Shape and dtype under a key; nil if there is no such key.
    public func entry(_ key: String) -> Entry? { entries[key] }

    /// The tensor under a key: a view over the file, which stays mapped as long as the view lives.
    ///
    /// Writing to the tensor changes memory, not the file.
    public func tensor(_ key: String) throws(TorchError) -> Tensor {
        guard let entry = entries[key] else {
            throw TorchError(.invalidWeights, "\(path): there is no tensor \(key)")
        }
        return try file.tensor(at: dataStart + entry.range.lowerBound, entry.shape, entry.dtype)
    }
}

/// Writing the safetensors format.
public enum Safetensors {
    /// Writes tensors and text into a file that replaces `path` when it is complete.
    public static func write(
        _ tensors: [String: Tensor],
        metadata: [String: String] = [:],
        to path: String
    ) throws(TorchError) {
        // Wide elements first keeps every tensor aligned without holes.
        let order = tensors.sorted {
            ($1.value.dtype.size, $0.key) < ($0.value.dtype.size, $1.key)
        }
        var members: [String] = []
        if !metadata.isEmpty {
            let texts = metadata.sorted { $0.key < $1.key }
                .map { StrictJSON.quoted($0.key) + ":" + StrictJSON.quoted($0.value) }
            members.append("\"__metadata__\":{\(texts.joined(separator: ","))}")
        }
        var offset = 0
        for (key, tensor) in order {
            guard let dtype = SafetensorsHeader.names[tensor.dtype], key != "__metadata__" else {
                throw TorchError(
                    .cannotWrite,
                    "\(path): the format cannot hold the tensor \(key) of \(tensor.dtype)"
                )
            }
            let shape = tensor.shape.map(String.init).joined(separator: ",")
            let end = offset + tensor.byteCount
            members.append(
                "\(StrictJSON.quoted(key)):{\"dtype\":\"\(dtype)\",\"shape\":[\(shape)],"
                    + "\"data_offsets\":[\(offset),\(end)]}"
            )
            offset = end
        }
        var header = Array("{\(members.joined(separator: ","))}".utf8)
        header += Array(repeating: UInt8(ascii: " "), count: (8 - header.count % 8) % 8)
        let length = withUnsafeBytes(of: UInt64(header.count).littleEndian) { Array($0) }

        let file = try AtomicFile(path: path)
        try file.write(length + header)
        for (_, tensor) in order {
            let plain = try tensor.to(.cpu).contiguous()
            let bytes = try plain.withUnsafeBytes { UnsafeRawBufferPointer($0) }
            try file.write(bytes)
            withExtendedLifetime(plain) {}
        }
        try file.finish()
    }
}

extension AtomicFile {
    /// Appends bytes.
    borrowing func write(_ bytes: [UInt8]) throws(TorchError) {
        let result = bytes.withUnsafeBytes { bytes in
            Result { () throws(TorchError) in try write(bytes) }
        }
        try result.get()
    }
}

public import SwanSystem
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
    public init(path: String) throws(SwanError) {
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

    /// Throws where the file was changed in any way since it was opened.
    public func requireUnchanged() throws(SwanError) { try file.requireUnchanged() }

    /// Shape and dtype under a key; nil if there is no such key.
    public func entry(_ key: String) -> Entry? { entries[key] }

    /// The tensor under a key: a view over the file, which stays mapped as long as the view lives.
    ///
    /// Writing to the tensor changes memory, not the file.
    public func tensor(_ key: String) throws(SwanError) -> Tensor {
        guard let entry = entries[key] else {
            throw SwanError(.invalidWeights, "\(path): there is no tensor \(key)")
        }
        return try file.tensor(at: dataStart + entry.range.lowerBound, entry.shape, entry.dtype)
    }
}

/// Writing the safetensors format.
public enum Safetensors {
    /// What the header says of a tensor that is to be written.
    public struct Entry: Sendable, Equatable {
        /// The name of the tensor.
        public let key: String
        /// The size of every dimension.
        public let shape: [Int]
        /// The type of the elements.
        public let dtype: DType

        /// A tensor to be written.
        public init(_ key: String, _ shape: [Int], _ dtype: DType) {
            self.key = key
            self.shape = shape
            self.dtype = dtype
        }

        /// Bytes the elements take.
        public var byteCount: Int { shape.reduce(dtype.size, *) }
    }

    /// Writes tensors and text into a file that replaces `path` when it is complete.
    public static func write(
        _ tensors: [String: Tensor],
        metadata: [String: String] = [:],
        to path: String
    ) throws(SwanError) {
        let entries = tensors.map { Entry($0.key, $0.value.shape, $0.value.dtype) }
        try write(entries, metadata: metadata, to: path) { entry, append throws(SwanError) in
            if let tensor = tensors[entry.key] { try append(tensor) }
        }
    }

    /// Writes a file from tensors that are made one after another, so that only one of them, or a
    /// part of one, has to be in memory.
    ///
    /// - Parameter body: is given every entry, in the order of the file, and a function that takes
    ///   the next elements of its tensor, in row-major order; they are converted to its dtype.
    public static func write(
        _ entries: [Entry],
        metadata: [String: String] = [:],
        to path: String,
        _ body: (
            _ entry: Entry,
            _ append: (Tensor) throws(SwanError) -> Void
        ) throws(SwanError) -> Void
    ) throws(SwanError) {
        // Wide elements first keeps every tensor aligned without holes.
        let order = entries.sorted { ($1.dtype.size, $0.key) < ($0.dtype.size, $1.key) }
        let header = try header(order, metadata, path)
        let length = withUnsafeBytes(of: UInt64(header.count).littleEndian) { Array($0) }

        let size = order.reduce(length.count + header.count) { $0 + $1.byteCount }
        let file = try AtomicFile(path: path, bytes: size)
        try file.write(length + header)
        for entry in order {
            var left = entry.byteCount
            try body(entry) { tensor throws(SwanError) in
                let plain = try tensor.to(.cpu, entry.dtype).contiguous()
                left -= plain.byteCount
                guard left >= 0 else { return }
                let bytes = try plain.withUnsafeBytes { UnsafeRawBufferPointer($0) }
                try file.write(bytes)
                // Of a file that was cut off meanwhile, what was written is not the tensor.
                _ = try plain.withUnsafeBytes { $0.count }
            }
            guard left == 0 else {
                throw SwanError(
                    .cannotWrite,
                    "\(path): the elements given for \(entry.key) do not fill its shape \(entry.shape)"
                )
            }
        }
        try file.finish()
    }

    private static func header(
        _ order: [Entry],
        _ metadata: [String: String],
        _ path: String
    ) throws(SwanError) -> [UInt8] {
        var members: [String] = []
        if !metadata.isEmpty {
            let texts = metadata.sorted { $0.key < $1.key }
                .map { StrictJSON.quoted($0.key) + ":" + StrictJSON.quoted($0.value) }
            members.append("\"__metadata__\":{\(texts.joined(separator: ","))}")
        }
        var offset = 0
        for entry in order {
            guard let dtype = SafetensorsHeader.names[entry.dtype], entry.key != "__metadata__"
            else {
                throw SwanError(
                    .cannotWrite,
                    "\(path): the format cannot hold the tensor \(entry.key) of \(entry.dtype)"
                )
            }
            let shape = entry.shape.map(String.init).joined(separator: ",")
            let end = offset + entry.byteCount
            members.append(
                "\(StrictJSON.quoted(entry.key)):{\"dtype\":\"\(dtype)\",\"shape\":[\(shape)],"
                    + "\"data_offsets\":[\(offset),\(end)]}"
            )
            offset = end
        }
        var header = Array("{\(members.joined(separator: ","))}".utf8)
        header += Array(repeating: UInt8(ascii: " "), count: (8 - header.count % 8) % 8)
        return header
    }
}

extension AtomicFile {
    /// Appends bytes.
    borrowing func write(_ bytes: [UInt8]) throws(SwanError) {
        let result = bytes.withUnsafeBytes { bytes in
            Result { () throws(SwanError) in try write(bytes) }
        }
        try result.get()
    }
}

import CTorch
public import SwanSystem
/// A safetensors file, mapped into memory.
///
/// The header is checked when the file is opened, by the rules of the format's own implementation:
/// no overlaps, no holes, nothing after the last tensor. The tensors are views of the file; data is
/// read only when it is used.
public final class SafetensorsFile: Sendable {
    /// The header's description of one tensor.
    public struct Entry: Sendable, Equatable {
        /// The size of every dimension.
        public let shape: [Int]
        /// The type of the elements.
        public let dtype: DType
        /// The range of the bytes after the header.
        let range: Range<Int>
    }

    /// The metadata of the file.
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

    /// The path that the file was opened with.
    public var path: String { file.path }

    /// The names of the tensors, sorted.
    public var keys: [String] { entries.keys.sorted() }

    /// Throws if the file was changed in any way since it was opened.
    public func requireUnchanged() throws(SwanError) { try file.requireUnchanged() }

    /// The shape and dtype of the tensor under a key; nil if there is no such key.
    public func entry(_ key: String) -> Entry? { entries[key] }

    /// Returns the tensor under a key: a view of the file, which stays mapped for the lifetime of
    /// the view.
    ///
    /// Writing to the tensor changes memory, not the file.
    public func tensor(_ key: String) throws(SwanError) -> Tensor {
        guard let entry = entries[key] else {
            throw SwanError(.invalidWeights, "\(path): there is no tensor \(key)")
        }
        return try file.tensor(at: dataStart + entry.range.lowerBound, entry.shape, entry.dtype)
    }
}

/// A writer of the safetensors format.
public enum Safetensors {
    /// The header's description of a tensor to be written.
    public struct Entry: Sendable, Equatable {
        /// The name of the tensor.
        public let key: String
        /// The size of every dimension.
        public let shape: [Int]
        /// The type of the elements.
        public let dtype: DType

        /// Creates the description of a tensor.
        public init(_ key: String, _ shape: [Int], _ dtype: DType) {
            self.key = key
            self.shape = shape
            self.dtype = dtype
        }

        /// The size of the elements in bytes.
        public var byteCount: Int { shape.reduce(dtype.size, *) }
    }

    /// Writes tensors and metadata to a file that replaces `path` once it is complete.
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

    /// Writes a file from tensors that are produced one at a time, so that only one of them, or a
    /// part of one, has to be in memory.
    ///
    /// - Parameter body: Called with every entry, in the order of the file, and a function that
    ///   accepts the next elements of its tensor, in row-major order; they are converted to its
    ///   dtype.
    public static func write(
        _ entries: [Entry],
        metadata: [String: String] = [:],
        to path: String,
        _ body: (
            _ entry: Entry,
            _ append: (Tensor) throws(SwanError) -> Void
        ) throws(SwanError) -> Void
    ) throws(SwanError) {
        // Writing wide elements first keeps every tensor aligned without holes.
        let order = entries.sorted { ($1.dtype.size, $0.key) < ($0.dtype.size, $1.key) }
        let header = try header(order, metadata, path)
        let length = withUnsafeBytes(of: UInt64(header.count).littleEndian) { Array($0) }

        let size = order.reduce(length.count + header.count) { $0 + $1.byteCount }
        _ = Leftovers.remove(from: Folder.path(of: path))
        let file = try PartialFile(target: path, byteCount: size)
        try file.append(length + header)
        for entry in order {
            var left = entry.byteCount
            try body(entry) { tensor throws(SwanError) in
                let plain = try tensor.to(.cpu, entry.dtype).contiguous()
                left -= plain.byteCount
                guard left >= 0 else { return }
                let bytes = try plain.withUnsafeBytes { UnsafeRawBufferPointer($0) }
                // The system does not read beyond the end of a truncated mapped file on our behalf; when we touch
                // it ourselves, zeros are mapped there and the file is marked as damaged.
                try file.write(bytes) { bytes in
                    ct_touch(bytes.baseAddress, bytes.count)
                    return true
                }
                // If a source file was truncated in the meantime, the bytes written are not those
                // of the tensor.
                _ = try plain.withUnsafeBytes { $0.count }
            }
            guard left == 0 else {
                throw SwanError(
                    .cannotWrite,
                    "\(path): the elements of \(entry.key) do not fill its shape \(entry.shape)"
                )
            }
        }
        try file.commit()
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
                    "\(path): the format does not support the tensor \(entry.key) of \(entry.dtype)"
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

extension PartialFile {
    fileprivate borrowing func append(_ bytes: [UInt8]) throws(SwanError) {
        let result = bytes.withUnsafeBytes { bytes in
            Result { () throws(SwanError) in try write(bytes) }
        }
        try result.get()
    }
}

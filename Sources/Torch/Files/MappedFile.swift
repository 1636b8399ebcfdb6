import CTorch
import Foundation
public import SwanSystem

/// A whole file mapped into memory.
///
/// Pages are read when they are accessed; writes to them never reach the file. If another process
/// truncates the file in the meantime, the missing part reads as zeros, and operators on its
/// tensors throw an error with the file's name.
final class MappedFile: @unchecked Sendable {
    let start: UnsafeMutableRawPointer
    let count: Int
    private let file: RegularFile
    private let mapping: ct_mapping

    /// Maps an existing, regular, non-empty file.
    init(path: String) throws(SwanError) {
        let file: RegularFile
        do { file = try RegularFile(path) } catch { throw SwanError(reading: error) }
        count = file.count
        guard count > 0 else {
            throw SwanError(.invalidFile, "\(path): the file is empty; \(Advice.again)")
        }
        // Without MAP_NORESERVE the kernel rejects a checkpoint larger than the free memory.
        let flags = MAP_PRIVATE | Int32(MAP_NORESERVE)
        let mapped = mmap(nil, count, PROT_READ | PROT_WRITE, flags, file.descriptor, 0)
        guard let mapped, mapped != MAP_FAILED else {
            guard errno == ENOMEM else {
                let reason = String(cString: strerror(errno))
                throw SwanError(.invalidFile, "\(path): cannot be read: \(reason)")
            }
            throw SwanError(
                .outOfMemory,
                "out of memory: cannot reserve \(count / 1_000_000) MB of address space for "
                    + "\(path); free memory, or raise the limit (ulimit -v)"
            )
        }
        start = mapped
        mapping = ct_mapping_create(mapped, count, file.descriptor, path)
        self.file = file
    }

    deinit {
        ct_mapping_release(mapping)
        munmap(start, count)
    }

    /// The path that the file was opened with.
    var path: String { file.path }

    /// The file's bytes, valid for the lifetime of this object.
    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: start, count: count) }

    /// Creates an error about this file.
    func invalid(_ what: String) -> SwanError {
        // The text may quote the contents of the file.
        SwanError(.invalidFile, "\(path): \(what.printable(limit: 2_000))")
    }

    /// Returns a contiguous tensor over the bytes from `offset` on; the tensor keeps the mapping
    /// alive.
    ///
    /// Bytes that are not aligned for `dtype` are copied.
    func tensor(at offset: Int, _ shape: [Int], _ dtype: DType) throws(SwanError) -> Tensor {
        guard let size = TensorExtent.byteCount(shape, dtype), 0...count ~= offset,
            size <= count - offset
        else { throw invalid("a tensor of shape \(shape) extends beyond the file") }
        let address = start + offset
        if Int(bitPattern: address) % dtype.size == 0 {
            return try Tensor(memory: address, shape, dtype, owner: self)
        }
        let copy = try Tensor.empty(shape, dtype)
        let source = UnsafeRawBufferPointer(start: address, count: size)
        try copy.withUnsafeBytes { $0.copyMemory(from: source) }
        return copy
    }
}

extension MappedFile {
    private static let changed = "was truncated or changed while it was in use"

    /// Throws if the file was truncated since it was opened.
    func requireWhole() throws(SwanError) {
        guard !ct_mapping_is_cut(mapping) else { throw invalid(Self.changed) }
    }

    /// Throws if the file was changed in any way since it was opened.
    func requireUnchanged() throws(SwanError) {
        guard !ct_mapping_is_changed(mapping) else { throw invalid(Self.changed) }
    }

    /// Throws if any mapped file was truncated since it was opened.
    fileprivate static func requireAllWhole() throws(SwanError) {
        guard let path = ct_mapping_find_cut() else { return }
        defer { free(path) }
        throw SwanError(.invalidFile, "\(String(cString: path)): \(changed)")
    }
}

extension Engine {
    /// Throws if a file with tensors was truncated since it was opened: results computed from them
    /// are invalid.
    public static func requireWholeFiles() throws(SwanError) { try MappedFile.requireAllWhole() }
}

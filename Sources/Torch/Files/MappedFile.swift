import CTorch
import Foundation
public import SwanSystem

/// A whole file as memory. Pages are read when they are touched; writing to them never reaches the file.
///
/// Where another process cuts the file off meanwhile, what is gone reads as zeros, and operators on its
/// tensors throw an error with the file's name.
final class MappedFile: @unchecked Sendable {
    let start: UnsafeMutableRawPointer
    let count: Int
    private let file: RegularFile
    private let mapping: ct_mapping

    /// Maps a file that is there, is a regular one and is not empty.
    init(path: String) throws(SwanError) {
        let file: RegularFile
        do { file = try RegularFile(path) } catch { throw SwanError(reading: error) }
        count = file.count
        guard count > 0 else { throw SwanError(.invalidFile, "\(path): is empty") }
        // Without MAP_NORESERVE the kernel refuses a checkpoint larger than the memory that is free.
        let flags = MAP_PRIVATE | Int32(MAP_NORESERVE)
        let mapped = mmap(nil, count, PROT_READ | PROT_WRITE, flags, file.descriptor, 0)
        guard let mapped, mapped != MAP_FAILED else {
            guard errno == ENOMEM else {
                let reason = String(cString: strerror(errno))
                throw SwanError(.invalidFile, "\(path): cannot be read: \(reason)")
            }
            throw SwanError(
                .outOfMemory,
                "out of memory: \(count / 1_000_000) MB of address space are refused for "
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

    /// The path, as it was given.
    var path: String { file.path }

    /// The file's bytes, for as long as this object lives.
    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: start, count: count) }

    /// An error about this file.
    func invalid(_ what: String) -> SwanError {
        // It may quote what stands in the file.
        SwanError(.invalidFile, "\(path): \(what.printable(limit: 2_000))")
    }

    /// A contiguous tensor over the bytes from `offset` on; the tensor keeps the mapping alive.
    ///
    /// Where the bytes are not aligned for `dtype` they are copied.
    func tensor(at offset: Int, _ shape: [Int], _ dtype: DType) throws(SwanError) -> Tensor {
        guard let size = TensorExtent.byteCount(shape, dtype), 0...count ~= offset,
            size <= count - offset
        else { throw invalid("a tensor of shape \(shape) does not lie inside the file") }
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
    private static let changed = "was cut off or changed while it was in use"

    /// Throws where the file was cut off since it was opened.
    func requireWhole() throws(SwanError) {
        guard !ct_mapping_is_cut(mapping) else { throw invalid(Self.changed) }
    }

    /// Throws where the file was changed in any way since it was opened.
    func requireUnchanged() throws(SwanError) {
        guard !ct_mapping_is_changed(mapping) else { throw invalid(Self.changed) }
    }

    /// Throws where any file that is mapped was cut off since it was opened.
    fileprivate static func requireAllWhole() throws(SwanError) {
        guard let path = ct_mapping_find_cut() else { return }
        defer { free(path) }
        throw SwanError(.invalidFile, "\(String(cString: path)): \(changed)")
    }
}

extension Engine {
    /// Throws where a file that tensors lie in was cut off since it was opened: what was computed from
    /// them is worth nothing.
    public static func requireWholeFiles() throws(SwanError) { try MappedFile.requireAllWhole() }
}

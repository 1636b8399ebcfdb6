import Foundation

/// A whole file as memory. Pages are read when they are touched; writing to them never reaches the file.
final class MappedFile: @unchecked Sendable {
    let path: String
    let start: UnsafeMutableRawPointer
    let count: Int

    /// Maps a file that is there, is not a directory and is not empty.
    init(path: String) throws(TorchError) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Self.unreadable(path, errno) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw Self.unreadable(path, errno) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            let kind = status.st_mode & S_IFMT == S_IFDIR ? "a directory" : "not a regular file"
            throw TorchError(.invalidFile, "\(path): is \(kind)")
        }
        guard status.st_size > 0 else { throw TorchError(.invalidFile, "\(path): is empty") }
        // Without MAP_NORESERVE the kernel refuses a checkpoint larger than the memory that is free.
        let flags = MAP_PRIVATE | Int32(MAP_NORESERVE)
        let mapped = mmap(nil, Int(status.st_size), PROT_READ | PROT_WRITE, flags, descriptor, 0)
        guard let mapped, mapped != MAP_FAILED else { throw Self.unreadable(path, errno) }
        self.path = path
        start = mapped
        count = Int(status.st_size)
    }

    deinit { munmap(start, count) }

    /// The file's bytes, for as long as this object lives.
    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: start, count: count) }

    /// An error about this file.
    func invalid(_ what: String) -> TorchError { TorchError(.invalidFile, "\(path): \(what)") }

    private static func unreadable(_ path: String, _ number: Int32) -> TorchError {
        TorchError(
            number == ENOENT ? .noSuchFile : .invalidFile,
            "\(path): cannot be read: \(String(cString: strerror(number)))"
        )
    }

    /// A contiguous tensor over the bytes from `offset` on, which the caller has checked to be there.
    ///
    /// The tensor keeps the mapping alive. Where the bytes are not aligned for `dtype` they are copied.
    func tensor(at offset: Int, _ shape: [Int], _ dtype: DType) throws(TorchError) -> Tensor {
        let address = start + offset
        if Int(bitPattern: address) % dtype.size == 0 {
            return try Tensor(memory: address, shape, dtype, owner: self)
        }
        let copy = try Tensor.empty(shape, dtype)
        let source = UnsafeRawBufferPointer(start: address, count: copy.byteCount)
        try copy.withUnsafeBytes { $0.copyMemory(from: source) }
        return copy
    }
}

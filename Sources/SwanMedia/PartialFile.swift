import CMedia
import Glibc
import SwanSystem

/// A file written under a hidden name beside its target, and renamed when it is complete.
///
/// Until then the target keeps what it held, so a file may be read while it is replaced. Pipes and devices, which cannot be
/// renamed, are written directly.
struct PartialFile: ~Copyable {
    /// Where to write.
    let path: String
    /// Where it will lie, all links followed.
    private let target: String
    private let name: String
    /// Open until the file has its name: its lock tells others that somebody writes.
    private var descriptor: Int32
    private var pending: Bool
    private let replaces: Bool

    /// Whether the target is a pipe or a device.
    let isDirect: Bool

    /// Creates the hidden file; `cannotCreate` or `diskFull` with the system's reason.
    ///
    /// - Parameter replaces: whether a file that has the name at the end is replaced; `exists` is thrown
    ///   if not.
    init(target requested: String, replaces: Bool = true) throws(MediaError) {
        let opened = try Self.open(requested)
        name = requested
        path = opened.path
        target = opened.target
        descriptor = opened.descriptor
        pending = !opened.isDirect
        isDirect = opened.isDirect
        self.replaces = replaces
    }

    deinit {
        if descriptor >= 0 { close(descriptor) }
        if pending { unlink(path) }
    }

    /// A descriptor for whoever writes, who then closes it.
    func makeDescriptor() throws(MediaError) -> Int32 {
        let copy = fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
        guard copy >= 0 else { throw Self.failure(name, creating: true, errno) }
        return copy
    }

    /// Writes bytes to the open descriptor.
    func write(_ bytes: UnsafeRawBufferPointer) throws(MediaError) {
        try calling(name) { cm_write_all(descriptor, bytes.baseAddress, bytes.count, $0) }
    }

    /// Gives the complete file its name; on failure nothing is left of it.
    consuming func commit() throws(MediaError) {
        if pending { try putInPlace() }
        pending = false
        let closed = close(descriptor)
        descriptor = -1
        guard closed == 0 else { throw Self.failure(name, creating: false, errno) }
    }

    private borrowing func putInPlace() throws(MediaError) {
        // What has its name is whole after a power cut, too. Some file systems have no such thing.
        guard fsync(descriptor) == 0 || [EINVAL, EROFS, ENOTSUP].contains(errno) else {
            throw Self.failure(name, creating: false, errno)
        }
        let number =
            replaces
            ? (rename(path, target) == 0 ? 0 : errno) : renameToNewName(path, target)
        guard number != EEXIST || replaces else {
            throw MediaError(
                .exists,
                "\(name): another program has made it meanwhile, and it is not replaced without -y"
            )
        }
        guard number == 0 else { throw Self.failure(name, creating: true, number) }
    }

    private struct Opened {
        let path: String
        let target: String
        let descriptor: Int32
        let isDirect: Bool
    }

    private static func open(_ requested: String) throws(MediaError) -> Opened {
        guard !requested.utf8.contains(0) else { throw failure(requested, creating: true, EINVAL) }
        try OutputPath.requireWritable(requested)
        var status = stat()
        let exists = stat(requested, &status) == 0
        let kind = status.st_mode & S_IFMT
        if exists, kind != S_IFREG {
            let descriptor = Glibc.open(requested, O_WRONLY | O_CLOEXEC)
            guard descriptor >= 0 else { throw failure(requested, creating: true, errno) }
            return Opened(
                path: requested,
                target: requested,
                descriptor: descriptor,
                isDirect: true
            )
        }
        let target = exists ? resolved(requested) : requested
        let (path, descriptor) = try create(beside: target, named: requested)
        // What replaces a file is as readable as that was.
        if exists { fchmod(descriptor, status.st_mode & 0o777) }
        return Opened(path: path, target: target, descriptor: descriptor, isDirect: false)
    }

    private static func create(
        beside target: String,
        named name: String,
    ) throws(MediaError) -> (path: String, descriptor: Int32) {
        let slash = target.lastIndex(of: "/")
        let directory = slash.map { String(target[...$0]) } ?? ""
        let file = slash.map { String(target[$0...].dropFirst()) } ?? target
        let dot = file.lastIndex(of: ".")
        let stem = dot.map { String(file[..<$0]) } ?? file
        let suffix = dot.map { String(file[$0...]) } ?? ""
        // A name may have 255 bytes; the part that is added must fit.
        let short = String(decoding: stem.utf8.prefix(180), as: UTF8.self)
        for attempt in 0..<1000 {
            let tag = PartialName.tag(attempt: attempt)
            let path = "\(directory).\(short).swan-partial-\(tag)\(suffix)"
            let descriptor = Glibc.open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
            if descriptor >= 0 {
                PartialName.lock(descriptor)
                return (path, descriptor)
            }
            if errno != EEXIST { throw failure(name, creating: true, errno) }
        }
        throw failure(name, creating: true, EEXIST)
    }

    /// A path with all links followed; itself where that cannot be done.
    static func resolved(_ path: String) -> String {
        guard let real = realpath(path, nil) else { return path }
        defer { free(real) }
        return String(cString: real)
    }

    /// The error for a failed system call on an output.
    static func failure(_ name: String, creating: Bool, _ number: Int32) -> MediaError {
        let reason = String(cString: strerror(number))
        let code = MediaError.Code(cm_code_of_errno(number, creating))
        let doing = creating && code != .diskFull ? "cannot be created" : "cannot be written"
        let hint = creating && number == ENOENT ? "; make its directory first" : ""
        return MediaError(code, "\(name): \(doing): \(reason)\(hint)")
    }
}

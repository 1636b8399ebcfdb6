import Glibc

/// A file written under a hidden name in the folder of its target, and renamed when it is complete.
///
/// Until then the target is unchanged, so it can be read while it is replaced. Pipes and devices
/// are written directly.
package struct PartialFile: ~Copyable {
    /// The path to write to.
    package let path: String
    /// The final path, with links resolved.
    private let target: String
    private let name: String
    /// Open until the file is renamed; its lock shows other processes that the file is in use.
    private var descriptor: Int32
    private var pending: Bool
    private let replaces: Bool

    /// Whether the target is a pipe or a device.
    package let isDirect: Bool

    /// Creates the hidden file. Throws `cannotWrite` or `diskFull` with the system's reason.
    ///
    /// - Parameters:
    ///   - byteCount: The size of the file, if known: throws `diskFull` if there is no space for it.
    ///   - replaces: Whether `commit()` may replace an existing file; otherwise it throws `exists`.
    package init(
        target requested: String,
        byteCount: Int = 1,
        replaces: Bool = true
    ) throws(SwanError) {
        let opened = try Self.open(requested, byteCount)
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
        if pending {
            unlink(path)
            UnfinishedFiles.forget(path)
        }
    }

    /// A duplicate descriptor, which the caller closes.
    package func makeDescriptor() throws(SwanError) -> Int32 {
        let copy = fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
        guard copy >= 0 else { throw Self.failure(name, creating: true, errno) }
        return copy
    }

    /// Appends bytes.
    ///
    /// - Parameter makeReadable: Called if the system cannot read the bytes, because they are mapped from a
    ///   file that was truncated; returns whether to try again.
    package borrowing func write(
        _ bytes: UnsafeRawBufferPointer,
        makeReadable: (UnsafeRawBufferPointer) -> Bool = { _ in false }
    ) throws(SwanError) {
        try OutputPath.write(bytes, to: descriptor, name, makeReadable: makeReadable)
    }

    /// Renames the complete file to its target; removes it on failure.
    ///
    /// - Parameter syncsFolder: Whether the new name is synced to disk like the contents.
    package consuming func commit(syncsFolder: Bool = true) throws(SwanError) {
        if pending {
            try renameIntoPlace()
            if syncsFolder { OutputPath.sync(Folder.path(of: target)) }
        }
        pending = false
        let closed = close(descriptor)
        descriptor = -1
        guard closed == 0 else { throw Self.failure(name, creating: false, errno) }
    }

    private borrowing func renameIntoPlace() throws(SwanError) {
        // Sync first, so that a renamed file is complete even after a power failure. Some file
        // systems do not support this.
        guard fsync(descriptor) == 0 || [EINVAL, EROFS, ENOTSUP].contains(errno) else {
            throw Self.failure(name, creating: false, errno)
        }
        let number = UnfinishedFiles.name(path) {
            replaces
                ? (rename(path, target) == 0 ? 0 : errno) : renameToNewName(path, target)
        }
        guard number != EEXIST || replaces else {
            throw SwanError(
                .exists,
                "\(name): was created by another program in the meantime; use -y to overwrite"
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

    private static func open(
        _ requested: String,
        _ byteCount: Int
    ) throws(SwanError) -> Opened {
        guard !requested.utf8.contains(0) else { throw failure(requested, creating: true, EINVAL) }
        try OutputPath.requireWritable(requested, byteCount: byteCount)
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
        let (path, descriptor) = try create(nextTo: target, named: requested)
        // Keep the permissions of the replaced file.
        if exists { fchmod(descriptor, status.st_mode & 0o777) }
        return Opened(path: path, target: target, descriptor: descriptor, isDirect: false)
    }

    /// The folder of a path with its slash, the name of the file and its extension with the dot.
    private struct Parts {
        let directory, stem, suffix: String

        /// The path of the hidden file.
        func partial(tag: String) -> String {
            "\(directory).\(stem).swan-partial-\(tag)\(suffix)"
        }
    }

    private static func parts(of target: String) -> Parts {
        let slash = target.lastIndex(of: "/")
        let file = slash.map { String(target[$0...].dropFirst()) } ?? target
        let dot = file.lastIndex(of: ".")
        let stem = dot.map { String(file[..<$0]) } ?? file
        return Parts(
            directory: slash.map { String(target[...$0]) } ?? "",
            // File names are limited to 255 bytes, including the added part.
            stem: String(decoding: stem.utf8.prefix(180), as: UTF8.self),
            suffix: dot.map { String(file[$0...]) } ?? ""
        )
    }

    /// Keeps what a process that was killed had written of a file: renames its hidden file to
    /// `NAME.unfinished.EXT`, which later runs do not remove.
    ///
    /// - Returns: The new path; nil if there is no hidden file, or a file has that name.
    package static func keepUnfinished(_ requested: String, of process: Int32) -> String? {
        let parts = parts(of: resolved(requested))
        let kept = "\(parts.directory)\(parts.stem).unfinished\(parts.suffix)"
        return renameToNewName(parts.partial(tag: "\(process)"), kept) == 0 ? kept : nil
    }

    private static func create(
        nextTo target: String,
        named name: String,
    ) throws(SwanError) -> (path: String, descriptor: Int32) {
        let parts = parts(of: target)
        for attempt in 0..<1000 {
            let path = parts.partial(tag: PartialName.tag(attempt: attempt))
            let descriptor = UnfinishedFiles.make(path) {
                Glibc.open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
            }
            if descriptor >= 0 {
                PartialName.lock(descriptor)
                return (path, descriptor)
            }
            if errno != EEXIST { throw failure(name, creating: true, errno) }
        }
        throw failure(name, creating: true, EEXIST)
    }

    /// A path with links resolved, or the path itself if that fails.
    package static func resolved(_ path: String) -> String {
        guard let real = realpath(path, nil) else { return path }
        defer { free(real) }
        return String(cString: real)
    }

    /// The error for a failed system call on an output.
    package static func failure(_ name: String, creating: Bool, _ number: Int32) -> SwanError {
        let reason = String(cString: strerror(number))
        let code: SwanError.Code =
            switch number {
            case ENOSPC, EDQUOT, EFBIG: .diskFull
            case EPIPE: .brokenPipe
            case ENOMEM: .outOfMemory
            default: creating ? .cannotWrite : .io
            }
        let problem = creating && code != .diskFull ? "cannot be created" : "cannot be written"
        let hint = creating && number == ENOENT ? "; create its directory first" : ""
        return SwanError(code, "\(name): \(problem): \(reason)\(hint)")
    }
}

import Glibc

/// The temporary name of an incomplete file. It contains the process ID, to distinguish files that
/// are being written from files that killed processes left behind.
///
/// The name is `.NAME.swan-partial-PID.EXT`. The writer also locks the file, and the system releases the lock when the process ends.
package struct PartialName {
    /// The process that created the file.
    private let process: Int32?

    /// Parses a name; nil if it is not a temporary name of Swan.
    package init?(_ name: String) {
        guard let tag = Self.tag(of: name) else { return nil }
        let parts = tag.split(separator: "-", omittingEmptySubsequences: false)
        guard (1...2).contains(parts.count), parts.allSatisfy(Self.isNumber),
            let number = UInt32(parts[0])
        else { return nil }
        // Larger numbers are not valid process IDs.
        process = Int32(exactly: number)
    }

    /// The part of the name that identifies this process's files.
    ///
    /// - Parameter attempt: Incremented while a file with the name exists.
    package static func tag(attempt: Int) -> String {
        attempt == 0 ? "\(getpid())" : "\(getpid())-\(attempt)"
    }

    /// Locks the file until `descriptor` is closed, to show that it is being written.
    package static func lock(_ descriptor: Int32) {
        // Not every file system supports locks, so the process ID is also checked.
        flock(descriptor, LOCK_EX | LOCK_NB)
    }

    /// Whether its process no longer exists on this machine.
    var isOrphaned: Bool {
        guard let process else { return true }
        return kill(process, 0) != 0 && errno == ESRCH
    }

    private static func isNumber(_ text: Substring) -> Bool {
        !text.isEmpty && text.first != "0" && text.utf8.count < 12
            && text.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
    }

    /// `.NAME.swan-partial-TAG`, optionally followed by an extension.
    private static func tag(of name: String) -> Substring? {
        guard name.hasPrefix("."), let mark = name.lastRange(of: ".swan-partial-"),
            mark.lowerBound > name.index(after: name.startIndex)
        else { return nil }
        return name[mark.upperBound...].prefix { $0 != "." }
    }
}

extension String {
    fileprivate func lastRange(of text: String) -> Range<Index>? {
        ranges(of: text).last
    }
}

/// Partial files and folders of killed processes.
package enum Leftovers {
    /// Removes partial files from a folder, except for those still being written.
    ///
    /// - Returns: The names of the removed files.
    package static func remove(from folder: String) -> [String] {
        Folder.names(in: folder).filter { name in
            guard let partial = PartialName(name), partial.isOrphaned else { return false }
            return remove(folder + "/" + name)
        }
    }

    private static func remove(_ path: String) -> Bool {
        let descriptor = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        var status = stat()
        // The lock also detects writers whose process ID is not visible here: in another container,
        // or on another machine with the same disk.
        guard fstat(descriptor, &status) == 0, status.st_uid == geteuid(),
            flock(descriptor, LOCK_EX | LOCK_NB) == 0
        else { return false }
        switch status.st_mode & S_IFMT {
        case S_IFREG: return unlink(path) == 0
        case S_IFDIR: return removeFolder(path)
        default: return false
        }
    }

    /// Removes a folder if it contains only files that a conversion or a benchmark writes.
    private static func removeFolder(_ path: String) -> Bool {
        let names = Folder.names(in: path)
        let isOurs = names.allSatisfy { name in
            name.hasSuffix(".safetensors") || name.hasSuffix(".json")
                || ["in.mp4", "out.mp4"].contains(name) || PartialName(name) != nil
        }
        guard isOurs else { return false }
        for name in names { unlink(path + "/" + name) }
        return rmdir(path) == 0
    }
}

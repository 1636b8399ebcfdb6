import Glibc

/// The name that a file has until it is complete: it tells whose it is, so that what a killed process
/// left behind can be told from what is being written.
///
/// `.NAME.swan-partial-PID` for outputs, `NAME.safetensors.PID.partial` for files of tensors. Whoever
/// writes also holds a lock, which the system drops when the process ends, however it ends.
public struct PartialName {
    /// The process that made it.
    private let process: Int32?

    /// Reads a name; nil for one that Swan does not make.
    public init?(_ name: String) {
        guard let tag = Self.outputTag(name) ?? Self.tensorTag(name) else { return nil }
        let parts = tag.split(separator: "-", omittingEmptySubsequences: false)
        guard (1...2).contains(parts.count), parts.allSatisfy(Self.isNumber),
            let number = UInt32(parts[0])
        else { return nil }
        // No process has a larger number.
        process = Int32(exactly: number)
    }

    /// The part of the name that tells this process's files from others'.
    ///
    /// - Parameter attempt: counts up while there is such a file already.
    public static func tag(attempt: Int) -> String {
        attempt == 0 ? "\(getpid())" : "\(getpid())-\(attempt)"
    }

    /// Has the system remember, until `descriptor` is closed, that somebody writes.
    public static func lock(_ descriptor: Int32) {
        // Not every file system can; the number of the process is looked at as well.
        flock(descriptor, LOCK_EX | LOCK_NB)
    }

    /// Whether its process is gone, as far as this machine knows.
    var isOrphaned: Bool {
        guard let process else { return true }
        return kill(process, 0) != 0 && errno == ESRCH
    }

    private static func isNumber(_ text: Substring) -> Bool {
        !text.isEmpty && text.first != "0" && text.utf8.count < 12
            && text.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
    }

    /// `.NAME.swan-partial-TAG`, perhaps with the name's ending behind it.
    private static func outputTag(_ name: String) -> Substring? {
        guard name.hasPrefix("."), let mark = name.lastRange(of: ".swan-partial-"),
            mark.lowerBound > name.index(after: name.startIndex)
        else { return nil }
        return name[mark.upperBound...].prefix { $0 != "." }
    }

    /// `NAME.safetensors.TAG.partial`
    private static func tensorTag(_ name: String) -> Substring? {
        guard name.hasSuffix(".partial"), let mark = name.lastRange(of: ".safetensors."),
            mark.lowerBound > name.startIndex
        else { return nil }
        return name[mark.upperBound...].dropLast(".partial".count)
    }
}

extension String {
    fileprivate func lastRange(of text: String) -> Range<Index>? {
        ranges(of: text).last
    }
}

/// Files and folders of processes that were killed while they wrote.
public enum Leftovers {
    /// Removes them from a folder; what any process still writes stays.
    ///
    /// - Returns: the names of what was removed.
    public static func remove(from folder: String) -> [String] {
        FolderListing.names(in: folder).filter { name in
            guard let partial = PartialName(name), partial.isOrphaned else { return false }
            return remove(folder + "/" + name)
        }
    }

    private static func remove(_ path: String) -> Bool {
        let descriptor = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        var status = stat()
        // The lock also tells of a writer that this machine does not know the number of: one in
        // another container, or on another machine with the same disk.
        guard fstat(descriptor, &status) == 0, status.st_uid == geteuid(),
            flock(descriptor, LOCK_EX | LOCK_NB) == 0
        else { return false }
        switch status.st_mode & S_IFMT {
        case S_IFREG: return unlink(path) == 0
        case S_IFDIR: return removeFolder(path)
        default: return false
        }
    }

    /// Removes a folder of files that a conversion makes, and no other.
    private static func removeFolder(_ path: String) -> Bool {
        let names = FolderListing.names(in: path)
        let isOurs = names.allSatisfy { name in
            name.hasSuffix(".safetensors") || name.hasSuffix(".json") || PartialName(name) != nil
        }
        guard isOurs else { return false }
        for name in names { unlink(path + "/" + name) }
        return rmdir(path) == 0
    }
}

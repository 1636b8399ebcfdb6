import Glibc

/// Room for files, asked for before the work that fills them.
public enum DiskSpace {
    /// Throws where so many bytes cannot be written at `path`, as far as it can be known.
    ///
    /// Quotas are not known before they are met.
    ///
    /// - Parameter largestFile: bytes of the largest of several files; nil for one that has them all.
    public static func require(
        _ bytes: Int,
        for path: String,
        largestFile: Int? = nil
    ) throws(SystemError) {
        let largest = largestFile ?? bytes
        var limit = rlimit()
        if getrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit) == 0,
            UInt64(largest) > UInt64(limit.rlim_cur)
        {
            throw refusal(path, EFBIG, needed: largest, free: Int(limit.rlim_cur))
        }
        guard let free = free(at: path), free < bytes else { return }
        throw refusal(path, ENOSPC, needed: bytes, free: free)
    }

    private static func refusal(
        _ path: String,
        _ number: Int32,
        needed: Int,
        free: Int
    ) -> SystemError {
        SystemError(
            .diskFull,
            "\(path): cannot be written: \(SystemError.reason(number)): some \(size(needed)) are "
                + "needed, \(size(free)) are \(number == EFBIG ? "allowed (ulimit -f)" : "free")"
        )
    }

    /// Bytes that this user may still write beside `path`; nil where the file system does not tell.
    private static func free(at path: String) -> Int? {
        var status = statvfs()
        let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
        guard statvfs(folder, &status) == 0, status.f_blocks > 0 else { return nil }
        let blocks = geteuid() == 0 ? status.f_bfree : status.f_bavail
        let (bytes, overflow) = Int(clamping: blocks)
            .multipliedReportingOverflow(by: Int(clamping: status.f_frsize))
        return overflow ? nil : bytes
    }

    private static func size(_ bytes: Int) -> String {
        for (unit, size) in [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)]
        where bytes >= size {
            let tenths = bytes / (size / 10)
            return "\(tenths / 10).\(tenths % 10) \(unit)"
        }
        return "\(bytes) bytes"
    }
}

import Glibc

/// Checks for free disk space before the work that fills it.
package enum DiskSpace {
    /// Throws if this many bytes cannot be written at `path`, as far as can be determined.
    ///
    /// Quotas cannot be detected in advance.
    ///
    /// - Parameter largestFile: The size of the largest of several files; nil for a single file.
    package static func require(
        _ bytes: Int,
        for path: String,
        largestFile: Int? = nil
    ) throws(SwanError) {
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
    ) -> SwanError {
        SwanError(
            .diskFull,
            "\(path): cannot be written: \(SwanError.reason(number)): about \(size(needed)) "
                + "needed, \(size(free)) \(number == EFBIG ? "allowed (ulimit -f)" : "free")"
        )
    }

    /// The bytes that this user can still write in the folder of `path`; nil if unknown.
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

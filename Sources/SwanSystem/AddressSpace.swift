import Glibc

/// The address space that this process can still allocate.
///
/// Running out of memory during a job can kill the process without a message, because Swift's
/// allocations and OpenMP's threads cannot report failure. So a job's memory is checked before it
/// starts.
package enum AddressSpace {
    /// The bytes left until the limit of `ulimit -v`; nil if there is no limit.
    package static var free: Int? {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit) == 0,
            limit.rlim_cur < UInt64(Int64.max), let used
        else { return nil }
        return max(0, Int(limit.rlim_cur) - used)
    }

    /// Throws if the system cannot allocate this many bytes.
    ///
    /// - Parameter advice: What the user can try instead.
    package static func require(_ bytes: Int, _ advice: String) throws(SwanError) {
        let flags = MAP_PRIVATE | MAP_ANONYMOUS
        let block = mmap(nil, bytes, PROT_READ | PROT_WRITE, flags, -1, 0)
        guard block == MAP_FAILED else {
            munmap(block, bytes)
            return
        }
        let allowed = free.map { ", \($0 / 1_000_000) MB allowed (ulimit -v)" } ?? ""
        throw SwanError(
            .outOfMemory,
            "out of memory: about \(bytes / 1_000_000) MB needed\(allowed); \(advice)"
        )
    }

    private static var used: Int? {
        guard let file = fopen("/proc/self/statm", "r") else { return nil }
        defer { fclose(file) }
        var pages = [CChar](repeating: 0, count: 64)
        guard fgets(&pages, Int32(pages.count), file) != nil else { return nil }
        return Int(strtoul(&pages, nil, 10)) * Int(sysconf(Int32(_SC_PAGESIZE)))
    }
}

import Glibc

/// Memory that this process may still ask for.
///
/// In the middle of a job a refusal can end the process without a word: the language's own
/// allocations and OpenMP's threads have no way to fail. So what a job takes is asked for before it.
public enum AddressSpace {
    /// Bytes up to the limit of `ulimit -v`; nil where there is no such limit.
    public static var free: Int? {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit) == 0,
            limit.rlim_cur < UInt64(Int64.max), let used
        else { return nil }
        return max(0, Int(limit.rlim_cur) - used)
    }

    /// Throws where the system does not give so many bytes.
    ///
    /// - Parameter advice: what to try instead.
    public static func require(_ bytes: Int, _ advice: String) throws(SystemError) {
        let flags = MAP_PRIVATE | MAP_ANONYMOUS
        let block = mmap(nil, bytes, PROT_READ | PROT_WRITE, flags, -1, 0)
        guard block == MAP_FAILED else {
            munmap(block, bytes)
            return
        }
        let allowed = free.map { ", \($0 / 1_000_000) MB are allowed (ulimit -v)" } ?? ""
        throw SystemError(
            .outOfMemory,
            "out of memory: some \(bytes / 1_000_000) MB are needed\(allowed); \(advice)"
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

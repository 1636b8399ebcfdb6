/// The memory that the kernel's control group, a container's limit, still allows.
enum ContainerMemory {
    /// Where a version of control groups keeps the limit and what is used, cache included.
    private struct Files {
        let limit, used: String
        /// The line of `memory.stat` with what can be dropped.
        let cache: String
        let statistics: String
    }

    private static let versions = [
        Files(
            limit: "/sys/fs/cgroup/memory.max",
            used: "/sys/fs/cgroup/memory.current",
            cache: "inactive_file",
            statistics: "/sys/fs/cgroup/memory.stat"
        ),
        Files(
            limit: "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            used: "/sys/fs/cgroup/memory/memory.usage_in_bytes",
            cache: "total_inactive_file",
            statistics: "/sys/fs/cgroup/memory/memory.stat"
        ),
    ]

    /// The bytes left; nil if there is no limit.
    static var free: Int? {
        for files in versions {
            guard let limit = number(files.limit), let used = number(files.used) else { continue }
            // Without a limit, version 1 has the largest number of pages.
            guard limit < 1 << 60 else { return nil }
            return max(0, limit - used + cache(files))
        }
        return nil
    }

    private static func cache(_ files: Files) -> Int {
        let lines = ProcessFacts.text(files.statistics)?.split(separator: "\n") ?? []
        let line = lines.first { $0.hasPrefix(files.cache + " ") }
        return line.flatMap { Int($0.dropFirst(files.cache.count + 1)) } ?? 0
    }

    private static func number(_ path: String) -> Int? {
        ProcessFacts.text(path).flatMap { Int($0.split(whereSeparator: \.isNewline).first ?? "") }
    }
}

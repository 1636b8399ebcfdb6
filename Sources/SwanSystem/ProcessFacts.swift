import Foundation

/// Information from the kernel about this process.
package enum ProcessFacts {
    /// When the process started, to a hundredth of a second; nil if unknown.
    package static var start: ContinuousClock.Instant? {
        // Field 22, after a name in parentheses that may contain anything: the start time in clock
        // ticks since boot.
        guard let line = text("/proc/self/stat"), let close = line.lastIndex(of: ")") else {
            return nil
        }
        let fields = line[close...].split(separator: " ")
        guard fields.count > 20, let ticks = Double(fields[20]) else { return nil }
        var now = timespec()
        guard clock_gettime(CLOCK_BOOTTIME, &now) == 0 else { return nil }
        let seconds = Double(now.tv_sec) + Double(now.tv_nsec) * 1e-9
        let age = seconds - ticks / Double(sysconf(Int32(_SC_CLK_TCK)))
        return ContinuousClock.now - .seconds(max(0, age))
    }

    /// The peak resident memory, in bytes; 0 if unknown.
    package static var peakMemoryBytes: Int { bytes("VmHWM:", in: "/proc/self/status") ?? 0 }

    /// Resets `peakMemoryBytes` to the memory resident now. Has no effect if the kernel does not
    /// support or allow it (before Linux 4.0).
    package static func forgetPeakMemory() {
        guard let file = fopen("/proc/self/clear_refs", "w") else { return }
        fputs("5", file)
        fclose(file)
    }

    /// The memory available to this process, in bytes; nil if unknown.
    package static var availableMemoryBytes: Int? {
        let free = bytes("MemAvailable:", in: "/proc/meminfo")
        return [free, AddressSpace.free].compactMap { $0 }.min()
    }

    /// The memory that this process can still use, also within a container's limit; nil if unknown.
    package static var usableMemoryBytes: Int? {
        [availableMemoryBytes, ContainerMemory.free].compactMap { $0 }.min()
    }

    private static func bytes(_ key: String, in file: String) -> Int? {
        let line = text(file)?.split(separator: "\n").first { $0.hasPrefix(key) }
        return line?.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) }
            .map { $0 * 1_024 }
    }

    /// The contents of a file in /proc, whose size is unknown until it is read.
    package static func text(_ path: String) -> String? {
        guard let file = fopen(path, "r") else { return nil }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = fread(&part, 1, part.count, file)
            guard count > 0 else { break }
            bytes += part[..<count]
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

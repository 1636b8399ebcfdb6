import Foundation
import Testing

/// Processes of a program such as `ranks-probe`, started as the ranks of a job.
struct Ranks {
    /// What became of a rank.
    struct Outcome {
        let code: Int32
        let output: String
        let messages: String
    }

    private static let folder = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        .deletingLastPathComponent()

    let processes: [Process]
    private let outputs: [Pipe]
    private let messages: [Pipe]

    /// Starts ranks.
    ///
    /// - Parameters:
    ///   - environment: Further variables.
    ///   - program: The program, which is built next to the tests.
    ///   - isAlone: Whether the only process is not started as a rank.
    ///   - folders: Their working directories; empty for that of the tests.
    init(
        _ count: Int,
        _ arguments: [String],
        environment: [String: String] = [:],
        port: Int? = nil,
        program: String = "ranks-probe",
        isAlone: Bool = false,
        folders: [String] = []
    ) throws {
        let port = try port ?? Self.freePort()
        var processes: [Process] = []
        outputs = (0..<count).map { _ in Pipe() }
        messages = (0..<count).map { _ in Pipe() }
        for rank in 0..<count {
            let process = Process()
            process.executableURL = Self.folder.appendingPathComponent(program)
            process.arguments = arguments
            if !folders.isEmpty {
                process.currentDirectoryURL = URL(fileURLWithPath: folders[rank])
            }
            var variables = ProcessInfo.processInfo.environment
            variables["TORCH_CPP_LOG_LEVEL"] = "ERROR"
            variables["OMP_NUM_THREADS"] = "1"
            variables["OMP_WAIT_POLICY"] = "passive"
            if !isAlone {
                variables.merge([
                    "RANK": "\(rank)", "WORLD_SIZE": "\(count)", "MASTER_ADDR": "127.0.0.1",
                    "MASTER_PORT": "\(port)",
                ]) { _, new in new }
                variables.merge(environment) { _, new in new }
            }
            process.environment = variables
            process.standardOutput = outputs[rank]
            process.standardError = messages[rank]
            try process.run()
            processes.append(process)
        }
        self.processes = processes
    }

    /// Waits for all ranks, and kills those that are left after a minute.
    func end(within seconds: Double = 60) -> [Outcome] {
        let timer = DispatchSource.makeTimerSource()
        timer.schedule(deadline: .now() + seconds)
        timer.setEventHandler { [processes] in
            for process in processes where process.isRunning {
                kill(process.processIdentifier, SIGKILL)
            }
        }
        timer.resume()
        defer { timer.cancel() }
        return processes.indices.map { index in
            let output = outputs[index].fileHandleForReading.readDataToEndOfFile()
            let messages = messages[index].fileHandleForReading.readDataToEndOfFile()
            processes[index].waitUntilExit()
            let status = processes[index].terminationStatus
            return Outcome(
                code: processes[index].terminationReason == .exit ? status : 128 + status,
                output: String(decoding: output, as: UTF8.self),
                messages: String(decoding: messages, as: UTF8.self)
            )
        }
    }

    /// A port that was free a moment ago.
    static func freePort() throws -> Int {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        return withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                bind(descriptor, generic, length)
                getsockname(descriptor, generic, &length)
            }
            return Int(UInt16(bigEndian: pointer.pointee.sin_port))
        }
    }
}

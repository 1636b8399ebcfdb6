import Foundation
import SwanSystem
import Synchronization

/// A program that runs beside this one and reports on standard error.
final class ChildProcess: @unchecked Sendable {
    private static let running = Mutex<[Int32: ChildProcess]>([:])

    private let process = Process()
    private let messages = Pipe()
    private let name: String

    // Everything below is protected by `condition`.
    private let condition = NSCondition()
    private var text = ""
    private var hasEnded = false

    /// Starts a program.
    init(_ program: String, _ arguments: [String]) throws {
        name = URL(fileURLWithPath: program).lastPathComponent
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = arguments
        process.environment = Self.environment(ProcessInfo.processInfo.environment)
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle.nullDevice
        process.standardError = messages
        do {
            try process.run()
        } catch {
            throw SwanError(.noSuchFile, "\(program): the program does not start", cause: error)
        }
        Self.running.withLock { $0[identifier] = self }
        try startThread("swan.child") { [self] in read() }
    }

    /// The environment of a program: this one's, without the settings that a person keeps there for servers of their
    /// own.
    static func environment(_ own: [String: String]) -> [String: String] {
        own.filter { !$0.key.hasPrefix("SWAN_") }
    }

    /// The number of the process.
    var identifier: Int32 { process.processIdentifier }

    /// Kills all programs that run, for when this one has to exit at once.
    static func killAll() {
        for child in running.withLock({ Array($0.values) }) { kill(child.identifier, SIGKILL) }
    }

    /// Waits for a word on standard error that begins with `prefix`.
    func word(startingWith prefix: String, within seconds: Double) throws(SwanError) -> String {
        let deadline = Date.now.addingTimeInterval(seconds)
        condition.lock()
        defer { condition.unlock() }
        while true {
            if let start = text.range(of: prefix),
                let end = text[start.lowerBound...].firstIndex(where: \.isWhitespace)
            {
                return String(text[start.lowerBound..<end])
            }
            guard !hasEnded, condition.wait(until: deadline) else { break }
        }
        let why = hasEnded ? "it has ended" : "it does not answer within \(seconds) s"
        throw SwanError(.libraryFailed, "\(name): \(why): \(String(text.suffix(400)).printable())")
    }

    /// Asks the program to end, and kills it if it does not within five seconds.
    func stop() {
        guard process.isRunning else { return }
        kill(identifier, SIGTERM)
        let deadline = Date.now.addingTimeInterval(5)
        while process.isRunning, Date.now < deadline { Thread.sleep(forTimeInterval: 0.01) }
        if process.isRunning { kill(identifier, SIGKILL) }
        process.waitUntilExit()
        _ = Self.running.withLock { $0.removeValue(forKey: identifier) }
    }

    /// Collects standard error until the program ends; of much text, the latest part is kept.
    private func read() {
        while true {
            let part = messages.fileHandleForReading.availableData
            condition.withLock {
                text += String(decoding: part, as: UTF8.self)
                if text.utf8.count > 1 << 16 { text = String(text.suffix(1 << 15)) }
                hasEnded = part.isEmpty
                condition.broadcast()
            }
            guard !part.isEmpty else { return }
        }
    }
}

/// A `swan serve` on a free port.
struct ServerProcess {
    /// What the server holds of the system.
    struct Resources {
        var memoryBytes = 0, descriptors = 0, threads = 0
    }

    let port: Int
    private let child: ChildProcess

    /// Starts a server and waits until it answers. It leaves the folder of the user's jobs alone.
    init(_ program: String, _ arguments: [String]) throws {
        let own = ["serve", "--port", "0", "--jobs", "none"]
        child = try ChildProcess(program, own + arguments)
        do {
            let url = try child.word(startingWith: "http://", within: 60)
            guard let port = URLComponents(string: url)?.port else {
                throw SwanError(.libraryFailed, "swan serve prints no port in '\(url.printable())'")
            }
            self.port = port
        } catch {
            child.stop()
            throw error
        }
    }

    func stop() { child.stop() }

    /// The seconds of processors that the server and this program have used so far: both share the machine.
    var processorSeconds: Double {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        func seconds(_ time: timeval) -> Double {
            Double(time.tv_sec) + Double(time.tv_usec) * 1e-6
        }
        let own = seconds(usage.ru_utime) + seconds(usage.ru_stime)
        // Fields 14 and 15, after a name in parentheses that may contain anything, in clock ticks.
        let line = ProcessFacts.text("/proc/\(child.identifier)/stat") ?? ""
        let fields = line.split(separator: ")").last?.split(separator: " ") ?? []
        let ticks = fields.dropFirst(11).prefix(2).compactMap { Double($0) }.reduce(0, +)
        return own + ticks / Double(sysconf(Int32(_SC_CLK_TCK)))
    }

    /// What the server holds now.
    var resources: Resources {
        var resources = Resources()
        let status = ProcessFacts.text("/proc/\(child.identifier)/status") ?? ""
        func number(_ key: String) -> Int {
            let line = status.split(separator: "\n").first { $0.hasPrefix(key + ":") }
            return line?.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) }
                ?? 0
        }
        resources.memoryBytes = number("VmRSS") * 1_024
        resources.threads = number("Threads")
        resources.descriptors = Folder.names(in: "/proc/\(child.identifier)/fd").count
        return resources
    }
}

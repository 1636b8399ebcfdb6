import Foundation
package import Logging
package import SwanPipelines
package import SwanSystem
package import Torch

/// A server of the Model Context Protocol for one client, over a pair of pipes: a JSON text in each line.
package final class AgentServer: @unchecked Sendable {
    /// The most requests that are worked on at a time.
    private static let maxRequests = 64

    private let answers: AgentProtocol
    private let output: AgentOutput
    private let log: Logger

    // Everything below is protected by `lock`.
    private let lock = NSLock()
    /// Requests that are worked on, by their numbers; their ids are the client's.
    private var requests: [Int: (id: JSONValue, task: Task<Void, Never>)] = [:]
    private var nextRequest = 0
    /// The sessions, once the model is loaded.
    private var registry: SessionRegistry?

    /// Creates a server, which answers while its model is loaded.
    ///
    /// - Parameters:
    ///   - overcommits: Whether sessions may start although others then miss their rate.
    ///   - root: The folder whose files the client may name.
    ///   - output: The descriptor that carries the protocol, and nothing else.
    ///   - budget: The CPU resources that all sessions may use together.
    package init(
        load: @escaping @Sendable () throws -> StreamModel,
        maxSessions: Int,
        overcommits: Bool,
        root: String,
        version: String,
        output: Int32,
        budget: ComputeBudget = .current,
        log: Logger
    ) throws(SwanError) {
        self.log = log
        self.output = AgentOutput(output)
        let files = try AllowedFiles(root)
        var limits = ServerOptions.Limits()
        limits.sessions = maxSessions
        let loading = Task { [limits] in
            try await onThread {
                let metrics = ServerMetrics(version: version)
                let health = ServerHealth(metrics)
                let host = try SharedStreams(load(), budget: budget, overcommits: overcommits)
                let registry = SessionRegistry(
                    try StreamHosts([host], onLoss: health.lose),
                    limits,
                    metrics: metrics,
                    log: log
                )
                health.become(.ready)
                return registry
            }
        }
        let tools = Task { AgentTools(try await loading.value, files) }
        answers = AgentProtocol(version: version, tools: { try await tools.value })
        Task {
            switch await loading.result {
            case .success(let registry): lock.withLock { self.registry = registry }
            case .failure(let error): log.error("the model cannot be loaded: \(error)")
            }
        }
    }

    /// Answers requests until `input` ends. Blocks.
    package func serve(_ input: Int32) throws(SwanError) {
        var lines = AgentInput(input)
        while let line = try lines.next() {
            switch line {
            case .text(let text): receive(text)
            case .tooLong:
                write(RPCResponse.line(nil, RPCError(.invalidRequest, "the line is too long")))
            }
        }
    }

    /// Ends all sessions and waits for the threads.
    ///
    /// - Returns: `false` if the model is being loaded, which cannot be interrupted.
    package func close() -> Bool {
        let tasks = lock.withLock { requests.values.map { $0.task } }
        let registry = lock.withLock { self.registry }
        for task in tasks { task.cancel() }
        registry?.close()
        return registry != nil
    }

    private func receive(_ line: Data) {
        let message: RPCMessage
        do throws(RPCError) {
            message = try RPCMessage(line)
        } catch {
            return write(RPCResponse.line(nil, error))
        }
        guard let id = message.id else { return take(message) }
        lock.withLock {
            guard requests.count < Self.maxRequests else {
                let error = RPCError(.internalError, "too many requests at a time")
                write(RPCResponse.line(id, error))
                return
            }
            let number = nextRequest
            nextRequest += 1
            let task = Task { await answer(message, id, number) }
            requests[number] = (id, task)
        }
    }

    /// Takes a notification; only cancellation matters.
    private func take(_ notification: RPCMessage) {
        guard notification.method == "notifications/cancelled",
            let id = notification.params["requestId"]
        else { return }
        let tasks = lock.withLock { requests.values.filter { $0.id == id }.map { $0.task } }
        for task in tasks { task.cancel() }
    }

    private func answer(_ message: RPCMessage, _ id: JSONValue, _ number: Int) async {
        do {
            write(RPCResponse.line(id, try await answers.result(message)))
        } catch let error as RPCError {
            write(RPCResponse.line(id, error))
        } catch is CancellationError {
            // Nobody waits for the answer.
        } catch {
            log.error("\(message.method.printable(limit: 80)): \(error)")
            write(RPCResponse.line(id, RPCError(.internalError, "the request failed")))
        }
        lock.withLock { requests[number] = nil }
    }

    private func write(_ line: Data) {
        do throws(SwanError) {
            try output.write(line)
        } catch {
            log.debug("\(error)")
        }
    }
}

/// Writes lines, one at a time.
private final class AgentOutput: @unchecked Sendable {
    private let descriptor: Int32
    // `lock` keeps lines apart.
    private let lock = NSLock()

    init(_ descriptor: Int32) { self.descriptor = descriptor }

    func write(_ line: Data) throws(SwanError) {
        lock.lock()
        defer { lock.unlock() }
        var rest = Array(line)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else {
                throw SwanError(.brokenPipe, "the client does not read: \(SwanError.reason(errno))")
            }
            rest = rest.dropFirst(count)
        }
    }
}

/// Reads lines of limited length.
private struct AgentInput {
    enum Line {
        case text(Data), tooLong
    }

    private static let maxLine = 4 << 20
    private let descriptor: Int32
    private var buffer = Data()
    private var isSkipping = false

    init(_ descriptor: Int32) { self.descriptor = descriptor }

    /// The next line that is not empty; nil at the end.
    mutating func next() throws(SwanError) -> Line? {
        while true {
            if let end = buffer.firstIndex(of: 0x0A) {
                let line = Data(buffer[..<end])
                buffer = Data(buffer[end...].dropFirst())
                if isSkipping {
                    isSkipping = false
                } else if !line.allSatisfy({ $0 == 0x0D || $0 == 0x20 }) {
                    return .text(line)
                }
                continue
            }
            if buffer.count > Self.maxLine {
                buffer = Data()
                defer { isSkipping = true }
                if !isSkipping { return .tooLong }
            }
            guard try fill() else { return nil }
        }
    }

    private mutating func fill() throws(SwanError) -> Bool {
        var piece = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = read(descriptor, &piece, piece.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else {
                throw SwanError(.io, "cannot read requests: \(SwanError.reason(errno))")
            }
            buffer.append(contentsOf: piece.prefix(count))
            return count > 0
        }
    }
}

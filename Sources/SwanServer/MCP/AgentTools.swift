import Foundation
import SwanCheckpoints
import SwanHTTP
import SwanPipelines
import SwanSystem
import SwanText

/// What the tools do: sessions of the server's own, fed from files.
final class AgentTools: @unchecked Sendable {
    private let registry: SessionRegistry
    private let files: AllowedFiles

    // Everything below is protected by `lock`.
    private let lock = NSLock()
    private var sessions: [String: AgentSession] = [:]

    init(_ registry: SessionRegistry, _ files: AllowedFiles) {
        self.registry = registry
        self.files = files
    }

    /// Calls a tool; throws what the agent should read.
    func call(_ tool: AgentTool, _ arguments: JSONValue) async throws -> AgentResult {
        switch tool {
        case .start: try await start(AgentArguments.decode(arguments))
        case .prompt:
            try await prompt(AgentArguments.decode(arguments))
        case .parameters: try await change(AgentArguments.decode(arguments))
        case .grabFrame: try await grabFrame(AgentArguments.decode(arguments))
        case .metrics: try metrics(AgentArguments.decode(arguments))
        case .stop: try stop(AgentArguments.decode(arguments))
        case .models: try models(AgentArguments.decode(arguments))
        case .styles: try styles(AgentArguments.decode(arguments))
        }
    }

    // MARK: - Sessions

    private func start(_ arguments: AgentArguments.Start) async throws -> AgentResult {
        let path = try files.path(arguments.source)
        let place: SessionRegistry.Reservation
        do {
            place = try registry.reserve(.least(of: registry.host.model))
        } catch {
            throw AgentError("\(error.message) Stop a session first.")
        }
        let (registry, rate) = (registry, registry.host.model.configuration.fps ?? 16)
        let started: (session: AgentSession, player: FilePlayer, issues: [PromptIssue])
        do {
            started = try await onThread {
                let player = try FilePlayer(
                    path,
                    framesPerSecond: arguments.framesPerSecond,
                    defaultRate: rate,
                    maxPixels: registry.limits.inputPixels
                )
                var change = arguments.change
                change.event = 1
                var message = StartMessage(
                    change,
                    framesPerSecond: player.framesPerSecond,
                    source: (player.width, player.height)
                )
                message.settings.width = arguments.width
                message.settings.height = arguments.height
                let (session, issues) = try registry.start(message, place)
                let name = arguments.source.printable(limit: 200)
                return (AgentSession(session, source: name, event: 1), player, issues)
            }
        } catch let error as SwanError {
            throw SwanError(error.code, error.message.replacing(path, with: arguments.source))
        }
        let session = started.session
        session.receive()
        forgetEnded()
        lock.withLock { sessions[session.session.id] = session }
        try started.player.play(into: session.session) { error in
            session.fail(error.message.replacing(path, with: session.source))
        }
        return try describe(session, started.player, started.issues)
    }

    private func describe(
        _ session: AgentSession,
        _ player: FilePlayer,
        _ issues: [PromptIssue]
    ) throws -> AgentResult {
        let options = session.session.options
        let width = options?.outputWidth ?? options?.width ?? 0
        let height = options?.outputHeight ?? options?.height ?? 0
        let rate = (player.framesPerSecond * 100).rounded() / 100
        let problems = issues.map(\.description)
        return AgentResult(
            ([
                "\(session.source) plays at \(rate) frames per second into \(width)x\(height); grab_frame shows it."
            ]
                + problems).joined(separator: "\n"),
            [
                "session": .text(session.session.id), "width": .integer(width),
                "height": .integer(height), "fps": .number(rate),
                "issues": .list(problems.map { .text($0) }),
            ]
        )
    }

    /// The session of an id, or the only one; throws if it cannot be told which.
    private func session(_ id: String?) throws -> AgentSession {
        forgetEnded()
        return try lock.withLock {
            guard let id else {
                guard sessions.count < 2 else {
                    throw AgentError("there are \(sessions.count) sessions; say which: session")
                }
                guard let only = sessions.values.first else {
                    throw AgentError("there is no session; call start first")
                }
                return only
            }
            guard let session = sessions[id] else {
                throw AgentError("there is no session '\(id.printable(limit: 80))'")
            }
            return session
        }
    }

    /// Forgets sessions that have ended without an error.
    private func forgetEnded() {
        lock.withLock {
            sessions = sessions.filter { !$0.value.isOver || $0.value.failureReason != nil }
        }
    }

    // MARK: - Changes

    private func prompt(_ arguments: AgentArguments.Prompt) async throws -> AgentResult {
        try await apply(arguments.change, nil, to: session(arguments.session))
    }

    private func change(_ arguments: AgentArguments.Parameters) async throws -> AgentResult {
        try await apply(arguments.change, arguments.paused, to: session(arguments.session))
    }

    private func apply(
        _ change: StreamChange,
        _ isPaused: Bool?,
        to session: AgentSession
    ) async throws -> AgentResult {
        // Without frames, no chunk takes a change.
        let timeout = Duration.seconds(isPaused == true ? 0 : 10)
        switch try await session.change(change, isPaused: isPaused, timeout: timeout) {
        case .refused(let message): throw AgentError(message)
        case .applied(let chunk, let issues):
            return AgentResult(
                (["In effect from chunk \(chunk) on."] + issues).joined(separator: "\n"),
                ["chunk": .integer(chunk), "issues": .list(issues.map { .text($0) })]
            )
        case nil:
            if let reason = session.failureReason { throw AgentError(reason) }
            return AgentResult("Takes effect with the next chunk.", ["chunk": .null, "issues": []])
        }
    }

    // MARK: - Results

    private func grabFrame(_ arguments: AgentArguments.Frame) async throws -> AgentResult {
        let session = try session(arguments.session)
        let timeout = Duration.seconds(arguments.waitSeconds)
        guard let frame = try await session.frame(isUpToDate: true, timeout: timeout) else {
            throw AgentError(
                session.failureReason ?? "no frame came within \(arguments.waitSeconds) seconds"
            )
        }
        let header = frame.header
        return AgentResult(
            "Frame \(header.sequence) of \(session.source), \(header.width)x\(header.height).",
            nil,
            picture: frame.picture
        )
    }

    private func metrics(_ arguments: AgentArguments.Session) throws -> AgentResult {
        let session = try session(arguments.session)
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        let data = try encoder.encode(session.session.stats(sessions: registry.count))
        let value = try JSONDecoder().decode(JSONValue.self, from: data)
        return try AgentResult(json: value)
    }

    private func stop(_ arguments: AgentArguments.Session) throws -> AgentResult {
        let session = try session(arguments.session)
        session.session.end()
        lock.withLock { sessions[session.session.id] = nil }
        return AgentResult("Stopped.", ["session": .text(session.session.id)])
    }

    private func models(_: AgentArguments.None) throws -> AgentResult {
        let model = registry.host.model
        let own = StreamOptions(model.configuration)
        return try AgentResult(json: [
            "models": [
                [
                    "id": .text(model.name), "steps": .integer(model.configuration.steps.count),
                    "noise_scale": .number(model.configuration.noiseScale),
                    "width": .integer(own.width), "height": .integer(own.height),
                    "size_multiple": .integer(model.sizeMultiple),
                    "fps": .number(model.configuration.fps ?? 16),
                    "max_sessions": .integer(registry.limits.sessions),
                    "max_output_pixels": .integer(registry.limits.outputPixels),
                ]
            ]
        ])
    }

    private func styles(_: AgentArguments.None) throws -> AgentResult {
        let known = registry.host.model.styles?.known ?? []
        return try AgentResult(json: [
            "styles": .list(
                known.map { style in
                    [
                        "name": .text(style.name),
                        "phrases": .list(style.phrases.map { .text($0) }),
                    ]
                }
            ),
            "note": known.isEmpty ? "The model takes any prompt." : "Other prompts change nothing.",
        ])
    }
}

/// A message for the agent about a call that failed.
struct AgentError: Error {
    let message: String

    init(_ message: String) { self.message = message }
}

/// What a tool returns: a text, the same as data, and a picture.
struct AgentResult {
    let text: String
    let data: JSONValue?
    var picture: [UInt8]?

    init(_ text: String, _ data: JSONValue?, picture: [UInt8]? = nil) {
        (self.text, self.data, self.picture) = (text, data, picture)
    }

    /// A result that is data, and its text the same as JSON.
    init(json: JSONValue) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        self.init(String(decoding: try encoder.encode(json), as: UTF8.self), json)
    }
}

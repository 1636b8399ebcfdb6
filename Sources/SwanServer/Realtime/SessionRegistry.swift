import Foundation
import Logging
import SwanCheckpoints
import SwanHTTP
import SwanMedia
import SwanPipelines
import SwanSystem
import SwanText
import Synchronization
import Torch

/// The sessions of a server, which share one model on one device or more.
final class SessionRegistry: @unchecked Sendable {
    let host: StreamHosts
    let limits: ServerOptions.Limits
    private let metrics: ServerMetrics
    private let log: Logger

    // Everything below is protected by `lock`.
    private let lock = NSLock()
    private var sessions: [String: LiveSession] = [:]
    /// Sessions that are being started.
    private var reserved = 0

    init(
        _ host: StreamHosts,
        _ limits: ServerOptions.Limits,
        metrics: ServerMetrics,
        log: Logger
    ) {
        self.host = host
        self.limits = limits
        self.metrics = metrics
        self.log = log
        metrics.follow(self)
    }

    var count: Int { lock.withLock { sessions.count } }

    /// The sessions that are open.
    var all: [LiveSession] { lock.withLock { Array(sessions.values) } }

    func session(_ id: String) -> LiveSession? { lock.withLock { sessions[id] } }

    /// Reserves a place for a session with this demand, or throws an error for its client.
    ///
    /// If there is no room, sessions that wait for a lost client give way, those that have waited longest first.
    func reserve(_ demand: StreamDemand) throws(APIError) -> Reservation {
        while true {
            do {
                return try reserveFree(demand)
            } catch {
                try giveWay(or: error)
            }
        }
    }

    /// Ends the session that has waited longest for its client; throws `refusal` if none waits.
    private func giveWay<Refusal: Error>(or refusal: Refusal) throws(Refusal) {
        guard let session = longestWaiting else {
            metrics.refused("capacity")
            throw refusal
        }
        lock.withLock { sessions[session.id] = nil }
        session.end()
    }

    /// Reserves a place as `reserve` does, but lets no session give way.
    func reserveFree(_ demand: StreamDemand) throws(APIError) -> Reservation {
        let reservation: Reservation? = lock.withLock {
            guard sessions.count + reserved < limits.sessions else { return nil }
            reserved += 1
            return Reservation(self)
        }
        guard let reservation else {
            throw .noCapacity("All \(limits.sessions) places are taken; try again in a moment.")
        }
        do {
            try host.requireCapacity(for: demand)
        } catch {
            throw .noCapacity(error.description, fits: error.fits)
        }
        return reservation
    }

    private var longestWaiting: LiveSession? {
        let waiting = lock.withLock { Array(sessions.values) }.compactMap { session in
            session.waitingSince.map { (session, since: $0) }
        }
        return waiting.min { $0.since < $1.since }?.0
    }

    /// A place for a session; it is free again when a session has taken it or this is released.
    final class Reservation: Sendable {
        private let registry: SessionRegistry
        private let isHeld = Mutex(true)

        init(_ registry: SessionRegistry) { self.registry = registry }

        deinit { release() }

        /// Frees the place, unless a session has taken it.
        func release() {
            registry.lock.withLock { handOver() }
        }

        /// Ends the reservation; the registry's lock is held.
        fileprivate func handOver() {
            isHeld.withLock { isHeld in
                if isHeld { registry.reserved -= 1 }
                isHeld = false
            }
        }
    }

    /// Starts a session. Blocks while its prompt is encoded.
    ///
    /// - Returns: The session, and what had to be changed in its prompt.
    func start(
        _ start: StartMessage,
        _ reservation: Reservation
    ) throws -> (session: LiveSession, issues: [PromptIssue]) {
        let model = host.model
        let options = try options(for: start)
        try check(options)
        guard start.input == .frames || !model.needsInput else {
            throw MessageError(
                "input_required",
                "This model restyles video and makes none from text alone; send frames.",
                parameter: "input"
            )
        }
        try OutputEncoder.check(
            start.output,
            width: options.outputWidth ?? options.width,
            height: options.outputHeight ?? options.height
        )
        let rate =
            start.framesPerSecond ?? model.configuration.fps ?? StreamModel.usualFramesPerSecond
        let session = LiveSession(
            UUID().uuidString.lowercased(),
            start,
            framesPerSecond: rate,
            credit: (4 + host.chunksHeld) * host.framesPerChunk,
            maxPixels: limits.inputPixels,
            metrics: SessionMetrics(metrics)
        )
        var request = SharedStreamRequest(
            prompts: start.change.prompts ?? [.init(model.styles?.noChange.first ?? "")],
            options: options,
            framesPerSecond: rate
        )
        request.event = start.change.event
        request.mode = start.mode
        request.generates = start.input == .none
        request.dropsFrames = start.presentation != .lossless
        let (stream, issues) = try join(request) { [session] report in session.take(report) }
        lock.withLock {
            reservation.handOver()
            sessions[session.id] = session
        }
        session.begin(stream) { [weak self, id = session.id] in self?.remove(id) }
        return (session, issues)
    }

    /// Joins the host. If there is no room, sessions that wait for a lost client give way.
    private func join(
        _ request: SharedStreamRequest,
        report: @escaping @Sendable (SharedStreamReport) -> Void
    ) throws -> (stream: SharedStream, issues: [PromptIssue]) {
        while true {
            do {
                return try host.join(request, report: report)
            } catch let error as CapacityError {
                try giveWay(or: error)
            }
        }
    }

    private func options(for start: StartMessage) throws -> StreamOptions {
        let model = host.model
        let most = model.configuration.steps.count
        if let steps = start.settings.steps, steps > most {
            throw MessageError(
                "invalid_value",
                "steps: this model has \(most), not \(steps)",
                parameter: "steps"
            )
        }
        var options = try StreamOptions(model.configuration, start.settings)
        if let width = start.sourceWidth, let height = start.sourceHeight {
            options.setSize(
                for: FrameShape(width: width, height: height),
                multiple: model.sizeMultiple,
                width: start.settings.width,
                height: start.settings.height,
                fit: start.settings.fit
            )
        }
        try Self.checkSides(options, start, multipleOf: model.sizeMultiple)
        return options
    }

    /// Throws if a side that a client asks for does not suit the model. A padded picture is smaller
    /// than what was asked for.
    private static func checkSides(
        _ options: StreamOptions,
        _ start: StartMessage,
        multipleOf multiple: Int
    ) throws(MessageError) {
        for (name, wanted, side) in [
            ("width", start.settings.width, options.width),
            ("height", start.settings.height, options.height),
        ] where wanted != nil && side % multiple != 0 {
            throw MessageError(
                "invalid_value",
                "\(name): must be a multiple of \(multiple), not \(side)",
                parameter: name
            )
        }
    }

    /// Throws if a session asks for more pixels than a client may have.
    func check(_ change: StreamChange, of session: LiveSession) throws(MessageError) {
        guard change.width != nil || change.height != nil, var options = session.options else {
            return
        }
        (options.width, options.height) = (
            change.width ?? options.width, change.height ?? options.height
        )
        do {
            try check(options)
        } catch {
            var refusal = error
            refusal.event = change.event
            throw refusal
        }
    }

    private func check(_ options: StreamOptions) throws(MessageError) {
        let pixels = options.width * options.height
        guard pixels <= limits.outputPixels else {
            throw MessageError(
                "invalid_value",
                "\(options.width)x\(options.height) is larger than this server allows; the maximum is "
                    + "\(limits.outputPixels) pixels",
                parameter: "width"
            )
        }
    }

    private func remove(_ id: String) {
        lock.withLock { sessions[id] = nil }
        log.info("session ended", metadata: ["sessions": "\(count)"])
    }

    /// Ends all sessions.
    func close() { host.close() }
}

import Foundation
import HTTPTypes
import Hummingbird
package import Logging
import SwanCheckpoints
import SwanHTTP
package import SwanPipelines
import SwanSystem
package import Torch

/// The web server: the page, sessions that restyle live video, and what programs ask for.
package final class RealtimeServer: Sendable {
    private let options: ServerOptions
    private let registry: SessionRegistry
    private let health: ServerHealth
    private let metrics: ServerMetrics
    private let demo: DemoUsers
    private let videos: VideoService?
    private let log: Logger

    /// Creates a server for a model, whose threads start at once.
    ///
    /// - Parameters:
    ///   - models: The model on each of the devices, of which one may be given several times.
    ///   - ranks: The ranks that run sessions, one at a time, with the first model; nil for none.
    ///   - budget: The CPU resources that all sessions may use together.
    package init(
        _ models: [StreamModel],
        over ranks: StagedSessions? = nil,
        options: ServerOptions,
        budget: ComputeBudget = .current,
        health: ServerHealth,
        metrics: ServerMetrics,
        log: Logger
    ) throws {
        self.options = options
        self.health = health
        self.metrics = metrics
        self.log = log
        registry = SessionRegistry(
            try Self.hosts(models, ranks, options, budget, health, log),
            options.limits,
            metrics: metrics,
            log: log
        )
        demo = DemoUsers(registry, timeout: options.demoTimeout, log: log)
        videos = try VideoService.open(options, registry.host.model, budget, log)
        if let videos { metrics.follow(videos.queue) }
    }

    private static func hosts(
        _ models: [StreamModel],
        _ ranks: StagedSessions?,
        _ options: ServerOptions,
        _ budget: ComputeBudget,
        _ health: ServerHealth,
        _ log: Logger
    ) throws(SwanError) -> StreamHosts {
        // Those on the processor share it.
        let share = budget.divided(by: max(1, models.count { $0.device == .cpu }))
        let hosts = try models.map { model throws(SwanError) in
            if let ranks { return try SharedStreams(model, over: ranks, budget: budget) }
            return try SharedStreams(
                model,
                engine: options.engine,
                budget: model.device == .cpu ? share : budget,
                overcommits: options.limits.overcommits
            )
        }
        return try StreamHosts(hosts) { device, error, left in
            log.error(
                "a device failed, and its sessions ended",
                metadata: ["device": "\(device)", "error": "\(error)", "devices left": "\(left)"]
            )
            health.lose(device, error, left: left)
        }
    }

    /// Makes this server answer.
    func answer(in content: ServerContent, _ page: StaticFiles) throws {
        try content.replace(
            routes: { router in
                page.addRoutes(to: router)
                try addAllRoutes(to: router)
            },
            webSockets: { [self] request in decide(request) }
        )
    }

    /// Adds all routes but those of the page.
    func addAllRoutes(to router: Router<BasicRequestContext>) throws {
        addRoutes(to: router)
        videos.map { VideoRoutes(service: $0).add(to: router) }
        try Operations(
            version: options.version,
            health: health,
            metrics: metrics,
            sessions: { [registry] in registry.count },
            devices: { [registry] in registry.host.states }
        ).addRoutes(to: router)
    }

    /// Receives OSC messages, if the options ask for it, until the listener is closed.
    func receiveOSC() async throws -> OSCListener? {
        guard let address = options.osc else { return nil }
        let controller = OSCController(
            { [registry] in registry.all },
            maxSteps: registry.host.model.configuration.steps.count,
            log: log
        )
        return try await OSCListener(address, log: log) { controller.receive($0) }
    }

    /// Measures what chunks cost, which decides how many sessions are admitted.
    func measureCost() {
        registry.host.measureCost { [log] error in
            guard let error else { return }
            log.warning("cannot measure the model's speed", metadata: ["error": "\(error)"])
        }
    }

    /// Ends all sessions, and stops making videos.
    func close() {
        videos?.queue.close()
        registry.close()
    }

    // MARK: - WebSockets

    private func decide(_ request: HTTPRequest) -> WebSocketDecision {
        if let refusal = health.refusal { return .refuse(refusal) }
        if let decision = demo.decide(request) { return decision }
        guard let url = URLComponents(string: request.path ?? ""), url.path == "/v1/realtime" else {
            return .refuse(.notFound)
        }
        let isOffered = request.subprotocols.contains("swan.v1")
        let subprotocol = isOffered ? "swan.v1" : nil
        let reservation: SessionRegistry.Reservation
        do {
            if let session = try Self.continued(url, registry) {
                return .accept(subprotocol: subprotocol) { [registry, log] connection in
                    try await RealtimeConnection(
                        registry: registry,
                        connection: connection,
                        log: log
                    ).resume(session)
                }
            }
            reservation = try registry.reserve(Self.demand(url, registry))
        } catch {
            return .refuse(error)
        }
        return .accept(subprotocol: subprotocol) { [registry, log] connection in
            try await RealtimeConnection(registry: registry, connection: connection, log: log)
                .run(reservation)
        }
    }

    /// The session that a URL asks to continue; nil if it asks for a new one.
    private static func continued(
        _ url: URLComponents,
        _ registry: SessionRegistry
    ) throws(APIError) -> LiveSession? {
        guard let id = url.queryItems?.first(where: { $0.name == "session" })?.value else {
            return nil
        }
        guard let session = registry.session(id) else {
            let message = "There is no such session, or it waited too long; start a new one."
            throw APIError(.notFound, "no_such_session", message)
        }
        return session
    }

    private static func demand(
        _ url: URLComponents,
        _ registry: SessionRegistry
    ) throws(APIError) -> StreamDemand {
        try SessionDemand.parse(
            url,
            registry.host.model,
            maxPixels: registry.limits.outputPixels
        )
    }

    // MARK: - Routes

    private func addRoutes(to router: Router<BasicRequestContext>) {
        demo.addRoutes(to: router)
        // A page cannot see why a handshake was refused, so it asks here.
        router.get("/v1/realtime") { [registry] request, _ -> Response in
            let url = URLComponents(string: request.uri.description) ?? URLComponents()
            if try Self.continued(url, registry) == nil {
                _ = try registry.reserveFree(Self.demand(url, registry))
            }
            throw APIError(
                .upgradeRequired,
                "upgrade_required",
                "Open a WebSocket here; see docs/protocol.md.",
                headers: [.upgrade: "websocket", .connection: "Upgrade"]
            )
        }
        router.get("/v1/models") { [self] _, _ in Self.json(models) }
        router.get("/v1/realtime/sessions/:id/stats") { [self] _, context in
            let session = try session(context)
            return Self.json(session.stats(sessions: registry.count))
        }
        router.get("/v1/realtime/sessions/:id/mjpeg") { [self] request, context in
            MotionJPEG.response(try session(context), to: request)
        }
    }

    private func session(_ context: BasicRequestContext) throws -> LiveSession {
        guard let id = context.parameters.get("id"), let session = registry.session(id) else {
            throw APIError(.notFound, "no_such_session", "There is no such session.")
        }
        return session
    }

    private struct Models: Encodable, Sendable {
        struct Model: Encodable, Sendable {
            let id: String
            let object = "model"
            let ownedBy = "swan"
            let styles: [String]
            let needsInput: Bool
            let steps, maxSteps: Int
            let width, height: Int
            let fps: Double
            let noiseScale: Double
        }

        let object = "list"
        let data: [Model]
    }

    private var models: Models {
        let model = registry.host.model
        let own = StreamOptions(model.configuration)
        let steps = model.configuration.steps.count
        return Models(
            data: [
                .init(
                    id: model.name,
                    styles: model.styles?.known.map(\.name) ?? [],
                    needsInput: model.needsInput,
                    steps: steps,
                    maxSteps: steps,
                    width: own.width,
                    height: own.height,
                    fps: model.configuration.fps ?? StreamModel.usualFramesPerSecond,
                    noiseScale: model.configuration.noiseScale
                )
            ] + (videos?.generator.map { [Self.described($0.model)] } ?? [])
        )
    }

    private static func described(_ model: GenerationModel) -> Models.Model {
        let own = model.variant.defaults
        return .init(
            id: model.name,
            styles: [],
            needsInput: model.variant.needsImage,
            steps: own.steps,
            maxSteps: 1_000,
            width: own.width,
            height: own.height,
            fps: Double(own.framesPerSecond),
            noiseScale: 0
        )
    }

    static func json(_ value: some Encodable) -> Response {
        JSONResponse.make(value, keys: .convertToSnakeCase)
    }
}

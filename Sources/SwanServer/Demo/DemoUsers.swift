import Foundation
import HTTPTypes
import Hummingbird
import Logging
import SwanCheckpoints
import SwanHTTP
import SwanPipelines
import SwanSystem

/// The protocol of StreamDiffusionV2's demo, so that its front end works with this server. See docs/protocol.md.
final class DemoUsers: @unchecked Sendable {
    private let registry: SessionRegistry
    private let timeout: Duration?
    private let log: Logger
    /// The size of the frames in both directions: square, as the front end crops them.
    private let size: (width: Int, height: Int)
    /// The prompt of users who have not sent one.
    private let prompt: String

    // Everything below is protected by `lock`.
    private let lock = NSLock()
    private var users: [UUID: DemoUser] = [:]

    init(_ registry: SessionRegistry, timeout: Duration?, log: Logger) {
        self.registry = registry
        self.timeout = timeout
        self.log = log
        let model = registry.host.model
        var options = StreamOptions(model.configuration)
        options.setSize(for: FrameShape(width: 512, height: 512), multiple: model.sizeMultiple)
        size = (options.width, options.height)
        prompt = model.styles?.known.first?.name ?? "a watercolor painting"
    }

    // MARK: - WebSockets

    /// The decision on a handshake at `/api/ws/{id}`; nil for other paths.
    func decide(_ request: HTTPRequest) -> WebSocketDecision? {
        let path = (request.path ?? "").prefix { $0 != "?" }.split(separator: "/")
        guard path.count == 3, path[0] == "api", path[1] == "ws" else { return nil }
        guard let id = UUID(uuidString: String(path[2])) else { return .refuse(.notFound) }
        return .accept(subprotocol: nil) { [self] connection in try await serve(id, connection) }
    }

    private func serve(_ id: UUID, _ connection: WebSocketConnection) async throws {
        let place: SessionRegistry.Reservation
        do {
            place = try registry.reserve(.least(of: registry.host.model))
        } catch {
            return try await connection.send(DemoStatus.error("Server is full").text)
        }
        let user = DemoUser(
            connection,
            place,
            registry,
            size: size,
            prompt: prompt,
            log: log
        )
        guard add(user, id) else {
            place.release()
            return try await connection.send(DemoStatus.error("The id is in use").text)
        }
        // Who sends no frame keeps no place from others; a later start reserves one again.
        let timer = Task { [limits = registry.limits] in
            try await Task.sleep(for: limits.startTimeout)
            await user.releasePlace()
        }
        defer { timer.cancel() }
        do {
            try await DemoConnection(user: user, connection: connection, timeout: timeout).run()
        } catch {
            await remove(id)
            throw error
        }
        await remove(id)
    }

    private func add(_ user: DemoUser, _ id: UUID) -> Bool {
        lock.withLock {
            guard users[id] == nil else { return false }
            users[id] = user
            return true
        }
    }

    private func remove(_ id: UUID) async {
        await lock.withLock { users.removeValue(forKey: id) }?.end()
    }

    private func user(_ context: BasicRequestContext) -> DemoUser? {
        guard let id = context.parameters.get("id").flatMap(UUID.init(uuidString:)) else {
            return nil
        }
        return lock.withLock { users[id] }
    }

    // MARK: - Routes

    /// Adds the routes.
    func addRoutes(to router: Router<BasicRequestContext>) {
        router.get("/api/settings") { [self] _, _ in
            let settings = DemoSettings(
                registry.host.model,
                size: size,
                users: registry.limits.sessions,
                prompt: prompt
            )
            return JSONResponse.make(settings)
        }
        router.get("/api/queue") { [self] _, _ in
            JSONResponse.make(["queue_size": await userCount])
        }
        router.get("/api/stream/:id") { [self] request, context in
            guard let user = user(context) else { throw Self.noUser }
            return Self.stream(user, to: request)
        }
        router.get("/api/metrics/:id") { [self] request, context in
            let window = request.uri.queryParameters.get("window_size", as: Int.self) ?? 100
            guard let user = user(context) else { throw Self.noUser }
            guard
                let report = await user.latencies.report(
                    last: window,
                    framesUnderway: await user.framesUnderway
                )
            else { return JSONResponse.make(["error": "No frames yet"], .notFound) }
            return JSONResponse.make(report)
        }
    }

    /// The number of people who use the model, by whatever protocol.
    private var userCount: Int {
        get async {
            var waiting = 0
            for user in lock.withLock({ Array(users.values) }) where await !user.isStarted {
                waiting += 1
            }
            return registry.count + waiting
        }
    }

    private static let noUser = APIError(
        .notFound,
        "no_such_user",
        "There is no connection with this id."
    )

    private static func stream(_ user: DemoUser, to request: Request) -> Response {
        MotionJPEG.response(boundary: "frame") { writer in
            let outbox = try await user.watch()
            do {
                try await MotionJPEG.write(
                    outbox,
                    boundary: "frame",
                    interval: user.displayInterval,
                    for: request,
                    to: &writer
                )
            } catch {
                await user.unwatch(outbox)
                throw error
            }
            await user.unwatch(outbox)
        }
    }
}

import Hummingbird
package import Logging
import SwanHTTP
import Synchronization

extension RealtimeServer {
    /// Listens at once, loads the model meanwhile, and serves until the task is cancelled.
    ///
    /// Until the model is loaded, `/readyz` and all that needs the model answer 503.
    ///
    /// - Parameters:
    ///   - load: Makes the server; called on a thread of its own, once the port is open.
    ///   - onReady: Called with the server's URL once it takes sessions.
    package static func serve(
        _ options: ServerOptions,
        health: ServerHealth,
        metrics: ServerMetrics,
        log: Logger,
        load: @escaping @Sendable () throws -> RealtimeServer,
        onReady: @escaping @Sendable (String) -> Void
    ) async throws {
        let page = try WebPage.files()
        var http = options.http
        // The page itself holds no secret; what it asks for does need the token.
        http.openPaths.formUnion(page.paths)
        http.acceptsPassword = MotionJPEG.isPath
        http.observer = { metrics.add($0) }
        let content = try loadingContent(http, options.version, health, metrics, page)
        let web = WebServer(options: http, content: content, log: log)
        let (urls, opened) = AsyncStream<String>.makeStream()
        let loaded = LoadedServer()
        defer { loaded.server.withLock { $0 }?.close() }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                defer { opened.finish() }
                try await withTaskCancellationHandler {
                    try await web.run { opened.yield($0) }
                } onCancel: {
                    health.become(.draining)
                }
            }
            group.addTask {
                guard let url = await urls.first(where: { _ in true }) else { return }
                log.debug("listening on \(url); loading the model")
                let server = try await onThread(load)
                loaded.server.withLock { $0 = server }
                let osc = try await server.receiveOSC()
                defer { osc?.close() }
                try server.answer(in: content, page)
                health.become(.ready)
                onReady(url)
                server.measureCost()
                for await failure in health.failures { throw failure }
            }
            // The first to end ends the other.
            try await group.next()
            group.cancelAll()
            try await group.next()
        }
    }

    /// What is answered before the model is loaded.
    private static func loadingContent(
        _ http: WebServerOptions,
        _ version: String,
        _ health: ServerHealth,
        _ metrics: ServerMetrics,
        _ page: StaticFiles
    ) throws -> ServerContent {
        let refusal = APIError(
            .serviceUnavailable,
            "loading",
            "The model is being loaded; try again in a moment.",
            headers: [.retryAfter: "1"]
        )
        return try ServerContent(
            http,
            routes: { router in
                page.addRoutes(to: router)
                try Operations(version: version, health: health, metrics: metrics)
                    .addRoutes(to: router)
                for method in [HTTPRequest.Method.get, .post, .put, .patch, .delete] {
                    router.on("**", method: method) { _, _ -> Response in throw refusal }
                }
            },
            webSockets: { _ in .refuse(refusal) }
        )
    }
}

/// The server, once its model is loaded.
private final class LoadedServer: Sendable {
    let server = Mutex<RealtimeServer?>(nil)
}

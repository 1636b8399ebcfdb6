import HTTPTypes
import Hummingbird
import NIOCore
import SwanPipelines

/// The routes for those who operate a server: health, version, metrics and the description of the API.
struct Operations: Sendable {
    let version: String
    let health: ServerHealth
    let metrics: ServerMetrics
    /// The number of sessions.
    var sessions: @Sendable () -> Int = { 0 }
    /// The devices and their streams.
    var devices: @Sendable () -> [StreamHosts.State] = { [] }

    private struct Readiness: Encodable {
        struct Device: Encodable {
            let device: String
            let status: String
            let sessions: Int
            let ranks: Int?
        }

        let status: String
        let sessions: Int
        let devices: [Device]
    }

    private var readiness: Readiness {
        Readiness(
            status: health.state == .degraded ? "degraded" : "ready",
            sessions: sessions(),
            devices: devices().map {
                .init(
                    device: $0.device,
                    status: $0.works ? "ready" : "failed",
                    sessions: $0.streams,
                    ranks: $0.ranks
                )
            }
        )
    }

    /// Adds the routes. Those that a router has are described, so this comes last.
    func addRoutes(to router: Router<BasicRequestContext>) throws {
        router.get("/healthz") { _, _ in RealtimeServer.json(["status": "ok"]) }
        router.get("/readyz") { _, _ in
            if let refusal = health.refusal { throw refusal }
            return RealtimeServer.json(readiness)
        }
        router.get("/version") { _, _ in RealtimeServer.json(["version": version]) }
        router.get("/metrics") { _, _ in
            Self.response(metrics.text, type: PrometheusText.mediaType)
        }
        let names = router.routes.map { "\($0.method.rawValue) \($0.path)" } + ["GET /openapi.json"]
        let description = try APIDescription(version: version).text(routes: Set(names))
        router.get("/openapi.json") { _, _ in Self.response(description, type: "application/json") }
    }

    private static func response(_ text: String, type: String) -> Response {
        Response(
            status: .ok,
            headers: [.contentType: type, .cacheControl: "no-store"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: text))
        )
    }
}

import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging
import SwanSystem

/// Answers the requests that have passed the gate: routes, security headers and the access log.
struct PageResponder: HTTPResponder {
    typealias Context = BasicRequestContext

    private let router: RouterResponder<Context>
    private let routes: [(path: RouterPath, method: HTTPRequest.Method)]
    private let observer: (@Sendable (RequestReport) -> Void)?

    /// Builds a responder from the routes that a function adds.
    init(
        _ options: WebServerOptions,
        routes add: (Router<BasicRequestContext>) throws -> Void
    ) rethrows {
        observer = options.observer
        let router = Router(context: Context.self, options: [.autoGenerateHeadEndpoints])
        router.add(middleware: ErrorEnvelope(bodyLimit: options.limits.bodyBytes))
        try add(router)
        self.router = router.buildResponder()
        routes = router.routes.map { ($0.path, $0.method) }
    }

    func respond(to request: Request, context: Context) async -> Response {
        let start = ContinuousClock.now
        var response = await answer(request, context)
        SecurityHeaders.add(to: &response.headers)
        let seconds = (ContinuousClock.now - start).seconds
        context.logger.debug(
            "\(request.method) \(request.uri.path.printable()): \(response.status.code)",
            metadata: ["ms": "\((10_000 * seconds).rounded() / 10)"]
        )
        let route = context.endpointPath.flatMap { $0.hasPrefix("/") ? $0 : nil }
        observer?(
            RequestReport(
                method: request.method.rawValue,
                route: route,
                status: response.status.code,
                seconds: seconds
            )
        )
        return response
    }

    /// The paths and methods of all routes that were added, such as `GET /v1/models`.
    var routeNames: [String] {
        routes.filter { $0.method != .head }
            .map { "\($0.method.rawValue) \($0.path)" }
    }

    private func answer(_ request: Request, _ context: Context) async -> Response {
        guard let response = try? await router.respond(to: request, context: context) else {
            return APIError.internalError.response
        }
        guard response.status == .notFound else { return response }
        // The router does not tell an unknown path from a wrong method.
        let methods = methods(for: request.uri.path)
        guard !methods.isEmpty, !methods.contains(request.method) else { return response }
        return APIError.methodNotAllowed(methods).response
    }

    private func methods(for path: String) -> [HTTPRequest.Method] {
        let components = path.split(separator: "/")
        return routes.filter { Self.matches($0.path, components) }.map(\.method)
    }

    private static func matches(_ route: RouterPath, _ components: [Substring]) -> Bool {
        let elements = route.components
        if elements.last == .recursiveWildcard {
            return zip(elements.dropLast(), components).allSatisfy { $0 ~= $1 }
        }
        return elements.count == components.count
            && zip(elements, components).allSatisfy { $0 ~= $1 }
    }
}

package import Hummingbird
import Synchronization

/// What a server answers: routes and WebSockets. It can be replaced while the server runs.
package final class ServerContent: Sendable {
    private struct State {
        var responder: PageResponder
        var webSockets: WebSocketResolver
    }

    private let options: WebServerOptions
    private let state: Mutex<State>

    /// Creates content.
    ///
    /// - Parameters:
    ///   - routes: Adds the routes. Their handlers throw `APIError`.
    ///   - webSockets: Decides on each WebSocket handshake that the options permit.
    package init(
        _ options: WebServerOptions,
        routes: (Router<BasicRequestContext>) throws -> Void,
        webSockets: @escaping WebSocketResolver
    ) rethrows {
        self.options = options
        let responder = try PageResponder(options, routes: routes)
        state = Mutex(State(responder: responder, webSockets: webSockets))
    }

    /// Answers all further requests in another way.
    package func replace(
        routes: (Router<BasicRequestContext>) throws -> Void,
        webSockets: @escaping WebSocketResolver
    ) rethrows {
        let responder = try PageResponder(options, routes: routes)
        let new = State(responder: responder, webSockets: webSockets)
        state.withLock { $0 = new }
    }

    /// The paths and methods of all routes, such as `GET /v1/models`.
    package var routes: [String] { responder.routeNames }

    var responder: PageResponder { state.withLock { $0.responder } }
    var webSockets: WebSocketResolver { state.withLock { $0.webSockets } }
}

/// Answers each request with the content that a server has at that moment.
struct ContentResponder: HTTPResponder {
    typealias Context = BasicRequestContext

    let content: ServerContent

    func respond(to request: Request, context: Context) async -> Response {
        await content.responder.respond(to: request, context: context)
    }
}

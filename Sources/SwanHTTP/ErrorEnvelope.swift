import Hummingbird
import HummingbirdCore
import Logging

/// Turns whatever route handlers throw into an `APIError`.
struct ErrorEnvelope: RouterMiddleware {
    typealias Context = BasicRequestContext

    let bodyLimit: Int

    func handle(
        _ request: Request,
        context: Context,
        next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        do {
            return try await next(request, context)
        } catch {
            if let known = APIError(error, bodyLimit: bodyLimit) { throw known }
            // The client learns nothing about the failure: its description may contain paths or another user's text.
            context.logger.error("\(request.method) \(request.uri.path) failed: \(error)")
            throw APIError.internalError
        }
    }
}

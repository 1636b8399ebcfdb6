import Foundation
import HTTPTypes
import SwanHTTP
import SwanPipelines

/// What the URL of a new session asks for: `?width=&height=&steps=&fps=`, so that a session that does not fit
/// can be refused before its connection is upgraded.
enum SessionDemand {
    /// The demand of a URL: what it does not say is the model's own, and without any of it, the least.
    static func parse(
        _ url: URLComponents,
        _ model: StreamModel
    ) throws(APIError) -> StreamDemand {
        let items = url.queryItems ?? []
        func number(_ name: String, in range: ClosedRange<Double>) throws(APIError) -> Double? {
            guard let text = items.last(where: { $0.name == name })?.value else { return nil }
            guard let value = Double(text), range.contains(value) else {
                throw APIError(
                    .badRequest,
                    "invalid_value",
                    "\(name) must be a number from \(Int(range.lowerBound)) to \(Int(range.upperBound)).",
                    parameter: name
                )
            }
            return value
        }
        let width = try number("width", in: 1...16_384).map { Int($0) }
        let height = try number("height", in: 1...16_384).map { Int($0) }
        let steps = try number("steps", in: 1...1_000).map { Int($0) }
        let rate = try number("fps", in: 1...120)
        guard width != nil || height != nil || steps != nil || rate != nil else {
            return .least(of: model)
        }
        let own = StreamDemand(ownOf: model)
        return StreamDemand(
            width: width ?? own.width,
            height: height ?? own.height,
            steps: min(steps ?? own.steps, own.steps),
            framesPerSecond: rate ?? own.framesPerSecond
        )
    }
}

extension APIError {
    /// A server without room for a session.
    ///
    /// - Parameter fits: A session that there is room for.
    static func noCapacity(_ message: String, fits: StreamDemand? = nil) -> APIError {
        var error = APIError(
            .serviceUnavailable,
            "capacity_exhausted",
            message,
            headers: [.retryAfter: "\(ServerOptions.retrySeconds)"]
        )
        if let fits {
            error.details["fits"] = [
                "width": Double(fits.width), "height": Double(fits.height),
                "steps": Double(fits.steps), "fps": fits.framesPerSecond,
            ]
        }
        return error
    }
}

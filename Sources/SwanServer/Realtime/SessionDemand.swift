import Foundation
import HTTPTypes
import SwanHTTP
import SwanPipelines

/// What the URL of a new session asks for: `?width=&height=&steps=&fps=`, so that a session that does not fit
/// can be refused before its connection is upgraded.
enum SessionDemand {
    /// The demand of a URL: what it does not say is the model's own, and without any of it, the least.
    ///
    /// Throws for a demand that no session can have, whatever else runs.
    ///
    /// - Parameter maxPixels: The maximum number of pixels of an output frame.
    static func parse(
        _ url: URLComponents,
        _ model: StreamModel,
        maxPixels: Int
    ) throws(APIError) -> StreamDemand {
        let items = url.queryItems ?? []
        let own = StreamDemand(ownOf: model)
        let width = try side("width", items, model.sizeMultiple)
        let height = try side("height", items, model.sizeMultiple)
        let steps = try whole("steps", items, in: 1...own.steps)
        let rate = try number("fps", items, in: 1...120)
        guard width != nil || height != nil || steps != nil || rate != nil else {
            return .least(of: model)
        }
        let demand = StreamDemand(
            width: width ?? own.width,
            height: height ?? own.height,
            steps: steps ?? own.steps,
            framesPerSecond: rate ?? own.framesPerSecond
        )
        if width != nil || height != nil, demand.width * demand.height > maxPixels {
            throw invalid(
                width != nil ? "width" : "height",
                "\(demand.width)x\(demand.height) is larger than this server allows; the maximum is "
                    + "\(maxPixels) pixels."
            )
        }
        return demand
    }

    private static func side(
        _ name: String,
        _ items: [URLQueryItem],
        _ multiple: Int
    ) throws(APIError) -> Int? {
        guard let side = try whole(name, items, in: 1...16_384) else { return nil }
        guard side % multiple == 0 else {
            throw invalid(name, "\(name) must be a multiple of \(multiple).")
        }
        return side
    }

    private static func whole(
        _ name: String,
        _ items: [URLQueryItem],
        in range: ClosedRange<Int>
    ) throws(APIError) -> Int? {
        let bounds = Double(range.lowerBound)...Double(range.upperBound)
        guard let value = try number(name, items, in: bounds) else { return nil }
        guard let whole = Int(exactly: value) else {
            throw invalid(name, "\(name) must be a whole number.")
        }
        return whole
    }

    private static func number(
        _ name: String,
        _ items: [URLQueryItem],
        in range: ClosedRange<Double>
    ) throws(APIError) -> Double? {
        guard let text = items.last(where: { $0.name == name })?.value else { return nil }
        guard let value = Double(text), range.contains(value) else {
            throw invalid(
                name,
                "\(name) must be a number from \(Int(range.lowerBound)) to \(Int(range.upperBound))."
            )
        }
        return value
    }

    private static func invalid(_ name: String, _ message: String) -> APIError {
        APIError(.badRequest, "invalid_value", message, parameter: name)
    }
}

extension APIError {
    /// A server without room for a session.
    static func noCapacity(_ message: String, fits: StreamDemand? = nil) -> APIError {
        var error = APIError(
            .serviceUnavailable,
            "capacity_exhausted",
            message,
            headers: [.retryAfter: "\(ServerOptions.retrySeconds)"]
        )
        error.fits = fits.map { fits in
            [
                "width": Double(fits.width), "height": Double(fits.height),
                "steps": Double(fits.steps), "fps": fits.framesPerSecond,
            ]
        }
        return error
    }
}

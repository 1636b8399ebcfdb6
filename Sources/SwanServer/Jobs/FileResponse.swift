import Foundation
import HTTPTypes
import Hummingbird
import NIOCore
import SwanHTTP

/// A file, or the part of it that a client asks for.
enum FileResponse {
    /// - Parameter path: A path of the server's making.
    static func make(
        _ path: String,
        type: String,
        _ request: Request,
        _ context: BasicRequestContext
    ) async throws -> Response {
        guard let facts = try? FileManager.default.attributesOfItem(atPath: path),
            let size = facts[.size] as? Int, let time = facts[.modificationDate] as? Date
        else { throw APIError.noSuchVideo }
        let tag = "\"\(size)-\(Int(time.timeIntervalSince1970 * 1_000))\""
        var headers: HTTPFields = [
            .contentType: type, .acceptRanges: "bytes", .eTag: tag,
            .cacheControl: "private, no-cache",
        ]
        if request.headers[.ifNoneMatch] == tag {
            return Response(status: .notModified, headers: headers)
        }
        let isSame = request.headers[.ifRange].map { $0 == tag } ?? true
        guard isSame, let text = request.headers[.range], let parsed = range(text, of: size) else {
            let body = try await FileIO().loadFile(path: path, context: context)
            return Response(status: .ok, headers: headers, body: body)
        }
        guard let range = parsed.value else {
            throw APIError(
                .rangeNotSatisfiable,
                "invalid_range",
                "The file has \(size) bytes.",
                parameter: "Range",
                headers: [.contentRange: "bytes */\(size)"]
            )
        }
        headers[.contentRange] = "bytes \(range.lowerBound)-\(range.upperBound)/\(size)"
        let body = try await FileIO().loadFile(path: path, range: range, context: context)
        return Response(status: .partialContent, headers: headers, body: body)
    }

    /// A parsed header: its range, nil if there is nothing in it.
    struct Parsed: Equatable {
        let value: ClosedRange<Int>?
    }

    /// Reads `bytes=0-99`, `bytes=100-` or `bytes=-100`. Nil for anything else, which is to be ignored.
    static func range(_ text: String, of size: Int) -> Parsed? {
        guard text.hasPrefix("bytes="), !text.contains(",") else { return nil }
        let ends = text.dropFirst(6).split(separator: "-", omittingEmptySubsequences: false)
        guard ends.count == 2, ends.allSatisfy({ $0.allSatisfy { $0.isASCII && $0.isNumber } })
        else { return nil }
        let (first, last) = (Int(ends[0]), Int(ends[1]))
        switch (first, last) {
        case (let first?, _) where ends[1].isEmpty || last != nil:
            guard first <= last ?? first else { return nil }
            guard first < size else { return Parsed(value: nil) }
            return Parsed(value: first...min(last ?? size - 1, size - 1))
        case (nil, let count?) where ends[0].isEmpty:
            guard count > 0, size > 0 else { return Parsed(value: nil) }
            return Parsed(value: max(0, size - count)...size - 1)
        default:
            return nil
        }
    }
}

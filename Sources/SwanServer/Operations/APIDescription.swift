import Foundation
import SwanSystem

/// The OpenAPI description of the server's HTTP routes, as far as a server has them.
struct APIDescription {
    private static let methods = ["get", "put", "post", "delete", "patch"]
    private let document: [String: Any]

    /// Reads the description from the module's resources.
    init(version: String) throws {
        guard let url = Bundle.module.url(forResource: "openapi", withExtension: "json") else {
            throw SwanError(.noSuchFile, "openapi.json is missing from this installation")
        }
        let value = try JSONSerialization.jsonObject(with: Data(contentsOf: url))
        guard var document = value as? [String: Any], var info = document["info"] as? [String: Any]
        else { throw SwanError(.invalidData, "openapi.json is not a description") }
        info["version"] = version.isEmpty ? "0" : version
        document["info"] = info
        self.document = document
    }

    /// The methods and paths that are described, such as `GET /v1/models`.
    var routes: Set<String> {
        let paths = document["paths"] as? [String: [String: Any]] ?? [:]
        return Set(
            paths.flatMap { path, operations in
                operations.keys.filter { Self.methods.contains($0) }
                    .map { "\($0.uppercased()) \(path)" }
            }
        )
    }

    /// The description of these routes as JSON.
    func text(routes: Set<String>) throws -> String {
        var paths: [String: [String: Any]] = [:]
        for (path, operations) in document["paths"] as? [String: [String: Any]] ?? [:] {
            let kept = operations.filter { key, _ in
                !Self.methods.contains(key) || routes.contains("\(key.uppercased()) \(path)")
            }
            if kept.keys.contains(where: { Self.methods.contains($0) }) { paths[path] = kept }
        }
        var document = document
        document["paths"] = paths
        let data = try JSONSerialization.data(
            withJSONObject: document,
            options: [.sortedKeys, .withoutEscapingSlashes]
        )
        return String(decoding: data, as: UTF8.self)
    }
}

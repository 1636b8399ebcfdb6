import Crypto
import HTTPTypes
package import Hummingbird
import HummingbirdCore

/// Files that are served from memory: the page and what it loads.
package struct StaticFiles: Sendable {
    /// A file.
    package struct File: Sendable {
        let body: ByteBuffer
        let type: String
        let tag: String

        /// Creates a file of a media type such as `text/html; charset=utf-8`.
        package init(_ bytes: some Sequence<UInt8>, type: String) {
            let bytes = Array(bytes)
            body = ByteBuffer(bytes: bytes)
            self.type = type
            let digest = SHA256.hash(data: bytes)
            tag = "\"" + digest.prefix(12).map { Self.hexadecimal($0) }.joined() + "\""
        }

        private static func hexadecimal(_ byte: UInt8) -> String {
            (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }
    }

    private let files: [String: File]

    /// Creates a set of files by their paths, which start with `/`.
    package init(_ files: [String: File]) {
        self.files = files
    }

    /// The paths of the files.
    package var paths: Set<String> { Set(files.keys) }

    /// Adds a route for each file.
    package func addRoutes(to router: Router<BasicRequestContext>) {
        for (path, file) in files {
            router.get(RouterPath(path)) { request, _ in
                Self.redirect(request, to: path) ?? file.response(to: request)
            }
        }
    }

    /// The answer to a file's path with a slash too many, from which the links of a page would lead nowhere. It names
    /// the place relative to the request, for servers that are not at the root of their host.
    private static func redirect(_ request: Request, to path: String) -> Response? {
        guard path != "/", request.uri.path.hasSuffix("/") else { return nil }
        let query = request.uri.query.map { "?\($0)" } ?? ""
        return Response(
            status: .permanentRedirect,
            headers: [.location: "..\(path)\(query)", .cacheControl: "no-cache"]
        )
    }
}

extension StaticFiles.File {
    fileprivate func response(to request: Request) -> Response {
        // Clients keep the file, but ask each time whether it has changed.
        // The type also decides the policy, which a browser takes over from "not modified", too.
        let headers: HTTPFields = [.eTag: tag, .cacheControl: "no-cache", .contentType: type]
        if isKnown(to: request) { return Response(status: .notModified, headers: headers) }
        return Response(status: .ok, headers: headers, body: ResponseBody(byteBuffer: body))
    }

    private func isKnown(to request: Request) -> Bool {
        request.headers[values: .ifNoneMatch].flatMap { $0.split(separator: ",") }.contains {
            let known = $0.filter { $0 != " " }
            return known == tag || known == "W/" + tag || known == "*"
        }
    }
}

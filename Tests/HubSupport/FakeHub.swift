import Crypto
import Foundation
import Synchronization

/// A hub of models on loopback, which speaks the protocol of huggingface.co: large files are
/// redirected to another host.
public final class FakeHub: Sendable {
    /// A repository at one commit.
    public struct Repository: Sendable {
        /// `owner/name`.
        public let name: String
        /// The commit that every revision leads to.
        public var commit: String
        /// The content of files, by path.
        public var files: [String: [UInt8]]
        /// The files from this size on are large files, which have SHA-256 sums.
        public var largeSize = 1_000
        /// The number of files in one answer.
        public var pageSize = 2
        /// The license among its tags.
        public var license = "apache-2.0"

        /// Creates a repository.
        public init(_ name: String, _ files: [String: [UInt8]], commit: String = "1234567") {
            (self.name, self.files, self.commit) = (name, files, commit)
        }
    }

    /// Changes an answer before it is sent; returns nil for the usual one.
    public typealias Change =
        @Sendable (LoopbackServer.Request, LoopbackServer.Answer) -> LoopbackServer.Answer?

    /// The server, which knows the requests.
    public let server: LoopbackServer
    private let content: Content

    /// What the hub has, and how it misbehaves.
    private final class Content: Sendable {
        let repositories: Mutex<[Repository]>
        let change = Mutex<Change?>(nil)

        init(_ repositories: [Repository]) { self.repositories = Mutex(repositories) }
    }

    /// Starts a hub.
    public init(_ repositories: Repository..., change: Change? = nil) async throws {
        let content = Content(repositories)
        content.change.withLock { $0 = change }
        self.content = content
        server = try await LoopbackServer { request in
            let usual = Self.answer(request, content)
            return content.change.withLock { $0 }?(request, usual) ?? usual
        }
    }

    /// The address for `HF_ENDPOINT`.
    public var endpoint: String { "http://127.0.0.1:\(server.port)" }

    /// Replaces the repositories.
    public func set(_ repositories: Repository...) {
        content.repositories.withLock { $0 = repositories }
    }

    /// Replaces the misbehavior.
    public func change(_ change: Change?) { content.change.withLock { $0 = change } }

    /// The requests for the content of files.
    public var downloads: [LoopbackServer.Request] {
        server.requests.filter { $0.path.contains("/resolve/") || $0.path.hasPrefix("/cdn/") }
    }

    /// The SHA-256 of bytes, in hexadecimal.
    public static func sha256(_ bytes: [UInt8]) -> String {
        SHA256.hash(data: bytes).map { String(format: "%02x", $0) }.joined()
    }

    private static func blob(_ bytes: [UInt8]) -> String {
        Insecure.SHA1.hash(data: Array("blob \(bytes.count)\0".utf8) + bytes)
            .map { String(format: "%02x", $0) }.joined()
    }

    private static func answer(
        _ request: LoopbackServer.Request,
        _ content: Content
    ) -> LoopbackServer.Answer {
        let path = request.path.removingPercentEncoding ?? request.path
        for repository in content.repositories.withLock({ $0 }) {
            let api = "/api/models/" + repository.name
            if path.hasPrefix(api + "/revision/") { return about(repository) }
            if path == api + "/tree/" + repository.commit { return page(of: repository, request) }
            let start = "/\(repository.name)/resolve/\(repository.commit)/"
            if path.hasPrefix(start) {
                return file(String(path.dropFirst(start.count)), of: repository, request)
            }
            for bytes in repository.files.values where path == "/cdn/" + sha256(bytes) {
                return ranged(bytes, request, tag: "\"cdn\"")
            }
        }
        return .init(401, headers: [("X-Error-Code", "RepoNotFound")], text: "not found")
    }

    private static func about(_ repository: Repository) -> LoopbackServer.Answer {
        json(["sha": repository.commit, "tags": ["license:" + repository.license]])
    }

    private static func page(
        of repository: Repository,
        _ request: LoopbackServer.Request
    ) -> LoopbackServer.Answer {
        let items = URLComponents(string: request.target)?.queryItems ?? []
        let first = items.first { $0.name == "cursor" }?.value.flatMap(Int.init) ?? 0
        let paths = repository.files.keys.sorted()
        let shown = paths.dropFirst(first).prefix(repository.pageSize)
        var answer = json(
            shown.map { path -> [String: Any] in
                let bytes = repository.files[path] ?? []
                var entry: [String: Any] = [
                    "type": "file", "path": path, "size": bytes.count, "oid": blob(bytes),
                ]
                if bytes.count >= repository.largeSize {
                    entry["oid"] = String(repeating: "0", count: 40)
                    entry["lfs"] = [
                        "oid": sha256(bytes), "size": bytes.count, "pointerSize": 130,
                    ]
                }
                return entry
            } + [["type": "directory", "path": "folder", "oid": "0", "size": 0]]
        )
        let next = first + shown.count
        if next < paths.count {
            let link = "\(request.path)?recursive=true&cursor=\(next)"
            answer.headers.append(("Link", "<\(link)>; rel=\"next\""))
        }
        return answer
    }

    private static func file(
        _ path: String,
        of repository: Repository,
        _ request: LoopbackServer.Request
    ) -> LoopbackServer.Answer {
        guard let bytes = repository.files[path] else {
            return .init(404, headers: [("X-Error-Code", "EntryNotFound")])
        }
        let commit = ("X-Repo-Commit", repository.commit)
        guard bytes.count >= repository.largeSize else {
            var answer = ranged(bytes, request, tag: "\"\(blob(bytes))\"")
            answer.headers.append(commit)
            return answer
        }
        let port = request.headers["host"]?.split(separator: ":").last ?? ""
        return .init(
            302,
            headers: [
                commit, ("X-Linked-Etag", "\"\(sha256(bytes))\""),
                ("X-Linked-Size", "\(bytes.count)"),
                ("Location", "http://localhost:\(port)/cdn/\(sha256(bytes))?signature=secret"),
            ]
        )
    }

    /// Bytes, or the range of them that was asked for.
    public static func ranged(
        _ bytes: [UInt8],
        _ request: LoopbackServer.Request,
        tag: String
    ) -> LoopbackServer.Answer {
        let condition = request.headers["if-range"]
        guard let range = request.headers["range"], range.hasPrefix("bytes="),
            let start = Int(range.dropFirst(6).prefix { $0 != "-" }),
            condition == nil || condition == tag
        else { return .init(200, headers: [("ETag", tag)], body: bytes) }
        guard start < bytes.count else {
            return .init(416, headers: [("Content-Range", "bytes */\(bytes.count)")])
        }
        return .init(
            206,
            headers: [
                ("ETag", tag),
                ("Content-Range", "bytes \(start)-\(bytes.count - 1)/\(bytes.count)"),
            ],
            body: Array(bytes[start...])
        )
    }

    private static func json(_ value: Any) -> LoopbackServer.Answer {
        do {
            let data = try JSONSerialization.data(withJSONObject: value)
            return .init(headers: [("Content-Type", "application/json")], body: Array(data))
        } catch {
            return .init(500, text: "\(error)")
        }
    }
}

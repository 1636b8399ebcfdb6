import Foundation
import SwanSystem

/// A repository of the hub at one commit.
struct HubRepository: Sendable {
    /// A file in it.
    struct File: Sendable, Equatable {
        let path: String
        let bytes: Int
        let checksum: Checksum
    }

    let name: String
    /// The commit's hash.
    let commit: String
    /// The license that the repository names.
    let license: String?
    let files: [File]

    /// The number of files beyond which a repository is refused.
    private static let largestCount = 100_000

    /// Reads what a repository contains at a revision. Throws `noSuchModel` if there is no such
    /// repository or revision for this user.
    init(
        _ name: String,
        revision: String?,
        _ connections: HubConnections,
        _ report: @escaping @Sendable (PullEvent) -> Void
    ) async throws {
        let environment = connections.environment
        let api = HubAPI(
            connections: connections,
            answer: HubAnswer(
                repository: name,
                revision: revision,
                path: nil,
                hasToken: environment.token != nil,
                endpoint: environment.endpoint
            ),
            report: report
        )
        let address = environment.endpoint.absoluteString + "/api/models/" + name
        let wanted = HubPath.encoded(revision ?? "main", keepingSlashes: false)
        let about = try await api.read(About.self, address + "/revision/" + wanted).value
        guard about.sha.wholeMatch(of: /[0-9a-f]{7,64}/) != nil else {
            throw SwanError(.invalidData, "\(name): the hub names no commit for it")
        }
        var files: [File] = []
        var next: String? = address + "/tree/" + about.sha + "?recursive=true&expand=false"
        while let page = next {
            let (entries, link) = try await api.read([Entry].self, page)
            for entry in entries where entry.type == "file" {
                try HubPath.check(entry.path, of: name)
                files.append(try entry.file(in: name))
            }
            guard files.count <= Self.largestCount else {
                throw SwanError(.tooLarge, "\(name): has more than \(Self.largestCount) files")
            }
            next = link
            guard link == nil || !entries.isEmpty else {
                throw SwanError(.invalidData, "\(name): the hub's list of files has no end")
            }
        }
        (self.name, commit, license, self.files) = (name, about.sha, about.license, files)
    }

    /// The answer about a revision.
    private struct About: Decodable {
        let sha: String
        let tags: [String]?

        var license: String? {
            (tags ?? []).first { $0.hasPrefix("license:") }
                .map { String($0.dropFirst("license:".count)).printable(limit: 60) }
        }
    }

    /// An entry of the answer about files.
    private struct Entry: Decodable {
        let type: String
        let path: String
        let oid: String?
        let size: Int?
        let lfs: LargeFile?

        struct LargeFile: Decodable {
            let oid: String
            let size: Int
        }

        func file(in name: String) throws(SwanError) -> File {
            let plain = lfs?.oid.split(separator: ":").last.map(String.init)
            let checksum = plain.map(Checksum.sha256(hex:)) ?? oid.map { .gitBlob($0.lowercased()) }
            let bytes = lfs?.size ?? size
            guard let checksum, let bytes, bytes >= 0, bytes < 1 << 50 else {
                throw SwanError(
                    .invalidData,
                    "\(name): the hub names no valid size and checksum of \(path.printable())"
                )
            }
            return File(path: path, bytes: bytes, checksum: checksum)
        }
    }
}

import Foundation
import NIOHTTP1
package import SwanStore
import SwanSystem

/// A file that a pull is to get.
package struct WantedFile: Sendable, Equatable {
    /// The path in the model's folder.
    package let path: String
    let url: URL
    /// The repository and the path in it; nil for a file at an address.
    let origin: Origin?
    /// The size, if the source names it.
    package let bytes: Int?
    let checksum: Checksum?
    /// The entity tag or date of a file at an address, by which a change is noticed.
    let validator: String?

    /// Where a file is in a repository.
    struct Origin: Sendable, Equatable {
        let repository: String
        let path: String
    }

    /// What the source promises: files with the same are the same file.
    var identity: String {
        checksum.map { $0.kind + " " + $0.text } ?? "\(url.absoluteString) \(validator ?? "")"
    }
}

/// What a pull is to get, and from where.
package struct PullPlan: Sendable {
    /// The name of the model.
    package let name: String
    package let sources: [PulledModel.Source]
    package let license: String?
    package let files: [WantedFile]
    /// Files that Swan writes, by name.
    let written: [String: String]

    /// The size of all files whose size is known.
    package var bytes: Int { files.reduce(0) { $0 + ($1.bytes ?? 0) } }
}

/// Finds out what a source contains.
struct PullPlanner {
    let connections: HubConnections
    let patterns: FilePatterns
    let report: @Sendable (PullEvent) -> Void

    /// The largest repository that is taken whole without being asked for.
    private static let largestUnasked = 300_000_000_000

    private var environment: HubEnvironment { connections.environment }

    /// Plans a pull; throws if the source does not exist or has no such files.
    func plan(_ source: PullSource, name: String?) async throws -> PullPlan {
        switch source {
        case .file(let url, let checksum):
            let file = try await probe(url, checksum)
            return PullPlan(
                name: name ?? source.name(fileName: file.path),
                sources: [.init(url: Self.address(url), revision: file.validator)],
                license: nil,
                files: [file],
                written: [:]
            )
        case .known(let model, let revision):
            return try await plan(model, revision, name ?? source.name(fileName: nil))
        case .repository(let repository, let revision, let path):
            let found = try await open(repository, revision)
            let files = try choose(path, in: found)
            return PullPlan(
                name: name ?? source.name(fileName: nil),
                sources: [self.source(found)],
                license: found.license,
                files: try Self.unique(files),
                written: [:]
            )
        }
    }

    private func plan(
        _ model: KnownModel,
        _ revision: String?,
        _ name: String
    ) async throws -> PullPlan {
        guard revision == nil || model.repository != nil else {
            throw SwanError(
                .invalidRequest,
                "\(model.name): has no revisions of its own, since its files come from several places"
            )
        }
        var files: [WantedFile] = []
        var sources: [PulledModel.Source] = []
        for part in model.parts {
            switch part.place {
            case .file(let address):
                guard let url = URL(string: address) else { continue }
                files.append(try await probe(url, nil))
                sources.append(.init(url: address, revision: files.last?.validator))
            case .repository(let repository):
                let found = try await open(repository, revision)
                let wanted = FilePatterns(included: part.files)
                let taken = found.files.filter { wanted.take($0.path) && patterns.take($0.path) }
                guard !taken.isEmpty || !patterns.included.isEmpty else {
                    throw SwanError(
                        .noSuchFile,
                        "\(repository): has none of the files \(part.files.joined(separator: ", "))"
                    )
                }
                files += try taken.map { file throws(SwanError) in
                    try want(file, in: found, below: part.folder)
                }
                sources.append(source(found))
            }
        }
        return PullPlan(
            name: name,
            sources: sources,
            license: model.license,
            files: try Self.unique(files),
            written: model.written
        )
    }

    // MARK: - Repositories

    private func open(_ name: String, _ revision: String?) async throws -> HubRepository {
        try await HubRepository(name, revision: revision, connections, report)
    }

    private func source(_ repository: HubRepository) -> PulledModel.Source {
        .init(
            url: environment.endpoint.absoluteString + "/" + repository.name,
            revision: repository.commit
        )
    }

    /// The files at a path of a repository: a file, the files in a folder, or those that match.
    private func choose(
        _ path: String?,
        in repository: HubRepository
    ) throws(SwanError) -> [WantedFile] {
        guard let path else { return try chooseNeeded(in: repository) }
        var chosen: [WantedFile] = []
        for file in repository.files where patterns.take(file.path) {
            if file.path == path {
                let folder = Folder.path(of: path)
                chosen.append(try want(file, in: repository, below: folder == "." ? "" : folder))
            } else if file.path.hasPrefix(path + "/") {
                chosen.append(try want(file, in: repository, below: path))
            } else if FilePatterns.matches(file.path, path) {
                chosen.append(try want(file, in: repository, below: ""))
            }
        }
        guard !chosen.isEmpty else {
            throw SwanError(
                .noSuchFile,
                "\(repository.name): has no file, folder or files '\(path.printable())'; "
                    + "it has \(Self.list(repository.files.map(\.path)))"
            )
        }
        return chosen
    }

    private func chooseNeeded(in repository: HubRepository) throws(SwanError) -> [WantedFile] {
        let paths = repository.files.map(\.path)
        let needed = patterns.included.isEmpty ? FilePatterns.needed(paths) : Set(paths)
        let taken = repository.files.filter { needed.contains($0.path) && patterns.take($0.path) }
        guard !taken.isEmpty else {
            throw SwanError(
                .noSuchFile,
                "\(repository.name): has no files to pull; it has \(Self.list(paths))"
            )
        }
        let bytes = taken.reduce(0) { $0 + $1.bytes }
        guard bytes <= Self.largestUnasked || !patterns.included.isEmpty else {
            throw SwanError(
                .invalidRequest,
                "\(repository.name): has \(ByteSize.text(bytes)) of files; choose with "
                    + "\(repository.name):FILE or --include ('*' for all); --dry-run lists them"
            )
        }
        return try taken.map { file throws(SwanError) in
            try want(file, in: repository, below: "")
        }
    }

    private func want(
        _ file: HubRepository.File,
        in repository: HubRepository,
        below folder: String
    ) throws(SwanError) -> WantedFile {
        let path = HubPath.encoded(file.path, keepingSlashes: true)
        let text =
            environment.endpoint.absoluteString + "/" + repository.name + "/resolve/"
            + repository.commit + "/" + path
        guard let url = URL(string: text) else {
            throw SwanError(.invalidData, "'\(text.printable())' is not an address")
        }
        let isInside = !folder.isEmpty && file.path.hasPrefix(folder + "/")
        return WantedFile(
            path: isInside ? String(file.path.dropFirst(folder.count + 1)) : file.path,
            url: url,
            origin: .init(repository: repository.name, path: file.path),
            bytes: file.bytes,
            checksum: file.checksum,
            validator: nil
        )
    }

    /// Throws if two files would have the same place, or that of the record.
    private static func unique(_ files: [WantedFile]) throws(SwanError) -> [WantedFile] {
        var paths: Set<String> = [PulledModel.fileName]
        for file in files where !paths.insert(file.path).inserted {
            throw SwanError(.invalidData, "\(file.path.printable()): two files have this name")
        }
        return files
    }

    private static func list(_ paths: [String]) -> String {
        guard !paths.isEmpty else { return "none at all" }
        let shown = paths.prefix(12).map { $0.printable(limit: 100) }.joined(separator: ", ")
        return shown + (paths.count > 12 ? " and \(paths.count - 12) more" : "")
    }

    // MARK: - Files at addresses

    /// Asks for a file's name, size and entity tag, and reads none of it.
    private func probe(_ url: URL, _ checksum: Checksum?) async throws -> WantedFile {
        let reply = try await Retries.repeating(environment.timing, report) {
            let reply = try await connections.get(url)
            try answer.requireSuccess(reply)
            return reply
        }
        if reply.header("Content-Type")?.lowercased().hasPrefix("text/html") == true {
            throw SwanError(
                .invalidData,
                "\(HubConnections.shown(url)): is a web page, not a file; give the address of the "
                    + "file itself"
            )
        }
        let offered = reply.header("Content-Disposition").flatMap(ContentDisposition.fileName)
        let name =
            (offered.flatMap(HubPath.name(offered:))) ?? HubPath.name(offered: url.path)
            ?? HubPath.name(offered: reply.url.path) ?? "file"
        let tag = reply.header("ETag").flatMap { $0.hasPrefix("W/") ? nil : $0 }
        return WantedFile(
            path: name == PulledModel.fileName ? "_" + name : name,
            url: url,
            origin: nil,
            bytes: reply.header("Content-Length").flatMap(Int.init),
            checksum: checksum,
            validator: tag ?? reply.header("Last-Modified")
        )
    }

    private var answer: HubAnswer {
        HubAnswer(
            repository: nil,
            revision: nil,
            path: nil,
            hasToken: false,
            endpoint: environment.endpoint
        )
    }

    /// The address without a password or a query, which may be a key.
    private static func address(_ url: URL) -> String { HubConnections.shown(url) }
}

/// The header in which servers name files (RFC 6266).
enum ContentDisposition {
    static func fileName(_ header: String) -> String? {
        if let match = header.firstMatch(of: /(?i)filename\*\s*=\s*utf-8''([^;]+)/) {
            return String(match.1).trimmingCharacters(in: .whitespaces).removingPercentEncoding
        }
        if let match = header.firstMatch(of: /(?i)filename\s*=\s*"([^"]*)"/) {
            return String(match.1)
        }
        return header.firstMatch(of: /(?i)filename\s*=\s*([^;"]+)/)
            .map { String($0.1).trimmingCharacters(in: .whitespaces) }
    }
}

/// Sizes for people.
package enum ByteSize {
    /// A size such as `11.4 GB`, in powers of 1000.
    package static func text(_ bytes: Int) -> String {
        for (unit, size) in [("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)]
        where Double(bytes) >= 0.9995 * size {
            let value = Double(bytes) / size
            return String(format: value < 99.95 ? "%.1f " : "%.0f ", value) + unit
        }
        return "\(bytes) bytes"
    }
}

package import Foundation
package import SwanStore
package import SwanSystem

/// What to pull: a known model, a repository or part of one, or a file at an address.
package enum PullSource: Equatable, Sendable {
    case known(KnownModel, revision: String?)
    /// - Parameter path: A file, a folder or a pattern in the repository; nil for all of it.
    case repository(String, revision: String?, path: String?)
    /// - Parameter checksum: From the fragment `#sha256=…`.
    case file(URL, checksum: Checksum?)

    /// The name by which commands find what was pulled, if it is not chosen.
    ///
    /// - Parameter fileName: The name of the file, for an address.
    package func name(fileName: String?) -> String {
        switch self {
        case .known(let model, let revision): model.name + (revision.map { "@" + $0 } ?? "")
        case .repository(let name, let revision, let path):
            name + (revision.map { "@" + $0 } ?? "") + (path.map { ":" + $0 } ?? "")
        case .file(let url, _): fileName ?? url.host ?? "file"
        }
    }

    /// Parses `NAME[@REVISION]`, `OWNER/NAME[@REVISION][:PATH]` or an address; throws
    /// `noSuchModel` for a name that is not known, `invalidRequest` for other text.
    ///
    /// - Parameters:
    ///   - revision: Replaces the revision in the text.
    ///   - endpoint: The hub's address, whose pages are recognized beside huggingface.co's.
    package init(_ text: String, revision: String? = nil, endpoint: URL) throws(SwanError) {
        let text = text.trimmingCharacters(in: .whitespaces)
        if text.wholeMatch(of: /(?i)(https?|hf):\/\/.*/) != nil {
            self = try Self.atAddress(text, revision, endpoint)
            return
        }
        let hubs = ["huggingface.co/", "hf.co/", "www.huggingface.co/"]
        if hubs.contains(where: text.lowercased().hasPrefix) {
            self = try Self.atAddress("https://" + text, revision, endpoint)
            return
        }
        guard !text.hasPrefix("/"), !text.hasPrefix("."), !text.hasPrefix("~") else {
            throw SwanError(
                .invalidRequest,
                "\(text): is a path on this machine, which needs no pull; give it to --model"
            )
        }
        let name = /([A-Za-z0-9][A-Za-z0-9._-]*)(?:@([^:]+))?/
        if let match = text.wholeMatch(of: name) {
            guard let known = KnownModels.named(String(match.1)) else {
                throw SwanError(
                    .noSuchModel,
                    "\(text): is neither a known model ('swan models list --known' shows them) nor "
                        + "a repository (OWNER/NAME) nor an address (https://…)"
                )
            }
            self = .known(known, revision: try Self.checked(revision ?? match.2.map(String.init)))
            return
        }
        let repository =
            /([A-Za-z0-9][A-Za-z0-9._-]*\/[A-Za-z0-9][A-Za-z0-9._-]*)(?:@([^:]+))?(?::(.+))?/
        guard let match = text.wholeMatch(of: repository) else {
            throw SwanError(
                .invalidRequest,
                "'\(text.printable())': is not a model to pull; give a name ('swan models list "
                    + "--known'), OWNER/NAME[@REVISION][:PATH], or an address (https://…)"
            )
        }
        self = try Self.inRepository(
            String(match.1),
            revision ?? match.2.map(String.init),
            match.3.map(String.init)
        )
    }

    private static func inRepository(
        _ name: String,
        _ revision: String?,
        _ path: String?
    ) throws(SwanError) -> Self {
        let revision = try checked(revision == "main" ? nil : revision)
        var path = path?[...]
        while path?.hasSuffix("/") == true { path = path?.dropLast() }
        if path == nil, let known = KnownModels.named(name) {
            return .known(known, revision: revision)
        }
        if let path { try HubPath.check(String(path), of: name) }
        return .repository(name, revision: revision, path: path.map(String.init))
    }

    private static func checked(_ revision: String?) throws(SwanError) -> String? {
        guard let revision else { return nil }
        guard revision.wholeMatch(of: /[A-Za-z0-9._\/-]{1,200}/) != nil, !revision.contains("..")
        else {
            throw SwanError(
                .invalidRequest,
                "'\(revision.printable())': is not a revision; give a branch, a tag or a commit"
            )
        }
        return revision
    }

    private static func atAddress(
        _ text: String,
        _ revision: String?,
        _ endpoint: URL
    ) throws(SwanError) -> Self {
        if text.lowercased().hasPrefix("hf://") {
            return try page(
                text.dropFirst(5).split(separator: "/").map(String.init),
                text,
                revision
            )
        }
        guard let url = URL(string: text), let host = url.host?.lowercased(), !host.isEmpty else {
            throw SwanError(.invalidRequest, "'\(text.printable())': is not an address")
        }
        let hubs = ["huggingface.co", "www.huggingface.co", "hf.co"]
        let isEndpoint =
            host == endpoint.host?.lowercased() && url.port == endpoint.port
            && url.path.hasPrefix(endpoint.path)
        if hubs.contains(host) || isEndpoint {
            let path = isEndpoint ? String(url.path.dropFirst(endpoint.path.count)) : url.path
            return try page(path.split(separator: "/").map(String.init), text, revision)
        }
        guard revision == nil else {
            throw SwanError(.invalidRequest, "--revision: \(text) is a file, not a repository")
        }
        return try file(url)
    }

    /// A page of the hub: a repository, or a folder or file of it.
    private static func page(
        _ parts: [String],
        _ text: String,
        _ revision: String?
    ) throws(SwanError) -> Self {
        guard parts.count >= 2, !["datasets", "spaces", "api", "docs"].contains(parts[0]) else {
            throw SwanError(
                .invalidRequest,
                "\(text): is not the page of a model, such as "
                    + "https://huggingface.co/Wan-AI/Wan2.1-T2V-1.3B"
            )
        }
        let name = parts[0] + "/" + parts[1]
        var rest = parts.dropFirst(2)
        guard name.wholeMatch(of: /[A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*/) != nil else {
            throw SwanError(.invalidRequest, "\(text): is not the page of a model")
        }
        guard let kind = rest.popFirst() else { return try inRepository(name, revision, nil) }
        guard ["tree", "blob", "resolve", "raw"].contains(kind), !rest.isEmpty else {
            throw SwanError(
                .invalidRequest,
                "\(text): is neither the page of a model nor of one of its files"
            )
        }
        // The only revisions with slashes that are no mistake: those of requests and conversions.
        let length = rest.first == "refs" && rest.count >= 3 ? 3 : 1
        let given = rest.prefix(length).joined(separator: "/")
        let path = rest.dropFirst(length).joined(separator: "/")
        return try inRepository(name, revision ?? given, path.isEmpty ? nil : path)
    }

    private static func file(_ url: URL) throws(SwanError) -> Self {
        var parts = URLComponents(url: url, resolvingAgainstBaseURL: true)
        var checksum: Checksum?
        if let fragment = parts?.fragment {
            if fragment.hasPrefix("sha256=") {
                checksum = Checksum.sha256(hex: String(fragment.dropFirst("sha256=".count)))
                guard checksum != nil else {
                    throw SwanError(
                        .invalidRequest,
                        "\(url): the checksum after '#sha256=' has to be 64 hexadecimal digits"
                    )
                }
            }
            parts?.fragment = nil
        }
        // The page about a file, whose address is what people copy.
        let path = url.path.split(separator: "/", omittingEmptySubsequences: false)
        if url.host == "github.com", path.count > 5, path[3] == "blob" {
            parts?.path = (path[..<3] + ["raw"] + path[4...]).joined(separator: "/")
        }
        guard let address = parts?.url else {
            throw SwanError(.invalidRequest, "\(url): is not an address")
        }
        return .file(address, checksum: checksum)
    }
}

package import Foundation
package import SwanSystem

/// The record of a pulled model: where its files came from and what they were. It stands in the
/// model's folder, as `pulled.json`.
package struct PulledModel: Codable, Equatable, Sendable {
    /// The name of the record's file.
    package static let fileName = "pulled.json"

    /// Where some of the files came from.
    package struct Source: Codable, Equatable, Sendable {
        /// A repository's or a file's address.
        package let url: String
        /// The commit of a repository; the entity tag or date of a file, if the server gave one.
        package let revision: String?

        package init(url: String, revision: String?) {
            (self.url, self.revision) = (url, revision)
        }
    }

    /// One file.
    package struct File: Codable, Equatable, Sendable {
        /// The path in the model's folder.
        package let path: String
        package let bytes: Int
        /// The checksum in hexadecimal.
        package let sha256: String
        /// The address it was downloaded from; nil for a file that Swan wrote.
        package let url: String?

        package init(path: String, bytes: Int, sha256: String, url: String?) {
            (self.path, self.bytes, self.sha256, self.url) = (path, bytes, sha256, url)
        }
    }

    /// The name by which commands find the model.
    package let name: String
    package let sources: [Source]
    /// The license, as the sources name it.
    package let license: String?
    /// The files, sorted by path.
    package let files: [File]
    /// When the pull was completed, in ISO 8601.
    package let date: String

    package init(
        name: String,
        sources: [Source],
        license: String?,
        files: [File],
        date: Date
    ) {
        self.name = name
        self.sources = sources
        self.license = license
        self.files = files.sorted { $0.path < $1.path }
        self.date = date.formatted(.iso8601)
    }

    /// The size of all files in bytes.
    package var bytes: Int { files.reduce(0) { $0 + $1.bytes } }

    /// Reads the record of a folder; nil if it has none. Throws if the record is damaged.
    package init?(ofFolder folder: String) throws(SwanError) {
        let path = folder + "/" + Self.fileName
        guard FileIdentity.isTaken(path) else { return nil }
        let data = try SmallFile.data(path, atMost: SmallFile.list)
        do {
            self = try JSONDecoder().decode(Self.self, from: data)
        } catch {
            throw SwanError(
                .invalidData,
                "\(path): is not the record of a pulled model; pull the model again",
                cause: error
            )
        }
    }

    /// Writes the record into a folder.
    package func write(toFolder folder: String) throws {
        try OutputPath.write(JSONText.data(self), to: folder + "/" + Self.fileName)
    }
}

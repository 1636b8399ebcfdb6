import Foundation
import SwanSystem

/// What there is of a model whose pull was not completed: which of its files are complete.
package struct UnfinishedPull: Codable, Sendable {
    private static let fileName = "state.json"

    /// A file that was downloaded and checked.
    package struct File: Codable, Equatable, Sendable {
        package let path: String
        /// What the source promised: a checksum, or an address and an entity tag.
        package let identity: String
        package let bytes: Int
        package let sha256: String

        package init(path: String, identity: String, bytes: Int, sha256: String) {
            (self.path, self.identity, self.bytes, self.sha256) = (path, identity, bytes, sha256)
        }
    }

    /// The name of the model.
    package let name: String
    /// The complete files, by path.
    package var files: [String: File] = [:]

    package init(name: String) { self.name = name }

    /// Reads the state of a folder, if a pull of this model left one that can be read.
    package init?(ofFolder folder: String, name: String) {
        guard let found = Self.read(folder), found.name == name else { return nil }
        self = found
    }

    /// The name of the model in a folder; nil if it is not of an unfinished pull.
    static func name(ofFolder folder: String) -> String? { read(folder)?.name }

    /// A state that cannot be read is none: the files are downloaded anew.
    private static func read(_ folder: String) -> Self? {
        do {
            let data = try SmallFile.data(folder + "/" + fileName, atMost: SmallFile.list)
            return try JSONDecoder().decode(Self.self, from: data)
        } catch {
            return nil
        }
    }

    /// Writes the state to a folder.
    package func write(toFolder folder: String) throws {
        try OutputPath.write(JSONText.data(self), to: folder + "/" + Self.fileName)
    }
}

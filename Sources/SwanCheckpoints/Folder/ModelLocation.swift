import Foundation
import SwanStore
import SwanSystem

/// Where a model stands that a command names.
package enum ModelLocation {
    /// The path of a model: that of a bundled model, an existing path as it is, or the folder or
    /// the only file of a pulled model. Any other name is returned as it is, and opening it says
    /// what is wrong.
    package static func path(_ nameOrPath: String) -> String {
        if let bundled = BundledModels.folder(nameOrPath) { return bundled }
        guard !FileIdentity.isTaken(nameOrPath) else { return nameOrPath }
        let store = ModelStore()
        do {
            return try store.model(named: nameOrPath)?.location ?? nameOrPath
        } catch {
            // The record is damaged: the folder may have all that the model needs.
            return store.folder(of: KnownModels.named(nameOrPath)?.name ?? nameOrPath)
        }
    }

    /// What to do about a name that leads to no model, as the end of a sentence; empty if nothing
    /// resembles it.
    package static func advice(_ name: String) -> String {
        if let known = KnownModels.named(name) {
            return "; '\(known.name)' was not pulled yet: 'swan models pull \(known.name)' gets it"
        }
        let here = BundledModels.names + ModelStore().contents().models.map(\.record.name)
        // A path is no misspelled name.
        let names = (here + KnownModels.all.map(\.name)).filter {
            $0.contains("/") || !name.contains("/")
        }
        if let near = nearestName(to: name, in: names) {
            let get = here.contains(near) ? "" : " 'swan models pull \(near)' gets it"
            return "; did you mean '\(near)'?\(get)"
        }
        if let near = neighbour(of: name) { return "; did you mean '\(near)'?" }
        let repository = /[a-z0-9][a-z0-9._-]*\/[a-z0-9][a-z0-9._-]*/
        guard name.lowercased().wholeMatch(of: repository) != nil else { return "" }
        return "; if it is a repository of huggingface.co, 'swan models pull \(name)' gets it"
    }

    /// The file or folder beside a path that is missing whose name is nearest to it.
    private static func neighbour(of path: String) -> String? {
        let url = URL(fileURLWithPath: path)
        let folder = url.deletingLastPathComponent()
        guard let names = try? FileManager.default.contentsOfDirectory(atPath: folder.path),
            let near = nearestName(to: url.lastPathComponent, in: names)
        else { return nil }
        let prefix = path.dropLast(path.hasSuffix("/") ? 1 : 0).lastIndex(of: "/")
        return (prefix.map { String(path[...$0]) } ?? "") + near
    }
}

import Foundation
package import SwanSystem

/// A model in a store.
package struct StoredModel: Sendable {
    /// The folder with its files.
    package let folder: String
    package let record: PulledModel

    package init(folder: String, record: PulledModel) {
        (self.folder, self.record) = (folder, record)
    }

    /// What a command opens: the folder, or the file if there is only one.
    package var location: String {
        guard record.files.count == 1, let file = record.files.first else { return folder }
        return folder + "/" + file.path
    }

    /// The files that are missing or have another size than the record says.
    package var incompleteFiles: [String] {
        record.files.filter { FileSize.of(folder + "/" + $0.path) != $0.bytes }.map(\.path)
    }
}

/// The sizes of files.
package enum FileSize {
    /// The size in bytes; nil if there is no regular file.
    package static func of(_ path: String) -> Int? {
        var status = stat()
        guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        return Int(status.st_size)
    }
}

/// The folder where pulled models stand, each complete in a folder of its own.
package struct ModelStore: Sendable {
    /// The path of the store, which need not exist.
    package let root: String

    package init(root: String) { self.root = Folder.path(root) }

    /// `SWAN_MODELS`, or `swan/models` in `XDG_CACHE_HOME` or `~/.cache`.
    package init(environment: [String: String] = ProcessInfo.processInfo.environment) {
        if let given = environment["SWAN_MODELS"], !given.isEmpty {
            self.init(root: given)
            return
        }
        let caches = environment["XDG_CACHE_HOME"].flatMap { $0.hasPrefix("/") ? $0 : nil }
        let home = environment["HOME"].flatMap { $0.isEmpty ? nil : $0 } ?? NSHomeDirectory()
        self.init(root: (caches ?? home + "/.cache") + "/swan/models")
    }

    /// The folder that a model has, or would have.
    package func folder(of name: String) -> String { root + "/" + StoreName.folder(name) }

    /// Where the files of a model gather until it is complete.
    package func unfinishedFolder(of name: String) -> String {
        root + "/.pulling/" + StoreName.folder(name)
    }

    /// The models, sorted by name, and what is wrong with the records of others.
    package func contents() -> (models: [StoredModel], problems: [String]) {
        var models: [StoredModel] = []
        var problems: [String] = []
        for name in Folder.names(in: root).sorted() where !name.hasPrefix(".") {
            let folder = root + "/" + name
            do throws(SwanError) {
                guard let record = try PulledModel(ofFolder: folder) else { continue }
                models.append(StoredModel(folder: folder, record: record))
            } catch {
                problems.append(error.message)
            }
        }
        return (models.sorted { $0.record.name < $1.record.name }, problems)
    }

    /// The model of a name, regardless of case; nil if it was not pulled completely. Throws if its
    /// record is damaged.
    package func model(named name: String) throws(SwanError) -> StoredModel? {
        let folder = folder(of: KnownModels.named(name)?.name ?? name)
        guard let record = try PulledModel(ofFolder: folder) else { return nil }
        return StoredModel(folder: folder, record: record)
    }

    /// The names of models whose pull was begun and not completed.
    package func unfinished() -> [String] {
        let folder = root + "/.pulling"
        return Folder.names(in: folder).sorted().compactMap { name in
            UnfinishedPull.name(ofFolder: folder + "/" + name)
        }
    }

    /// Removes a model, and what there is of an unfinished pull of it. Throws `noSuchModel` if there
    /// is neither, and `cannotWrite` if it is being pulled.
    ///
    /// - Returns: The bytes that the model's files had.
    package func remove(_ name: String) throws(SwanError) -> Int {
        let name = KnownModels.named(name)?.name ?? name
        let (folder, unfinished) = (folder(of: name), unfinishedFolder(of: name))
        guard FileIdentity.isTaken(folder) || FileIdentity.isTaken(unfinished) else {
            throw SwanError(
                .noSuchModel,
                "there is no pulled model '\(name)' in \(root); 'swan models list' shows all"
            )
        }
        guard let lock = try StoreLock(unfinished + ".lock") else {
            throw SwanError(.cannotWrite, "\(name): is being pulled; stop that first")
        }
        defer { lock.end() }
        let bytes = Self.bytes(below: folder) + Self.bytes(below: unfinished)
        // A model is complete or not there at all, even if removing its files is interrupted.
        let doomed = unfinished + ".removed"
        try Self.delete(doomed)
        if FileIdentity.isTaken(folder), rename(folder, doomed) != 0 {
            throw SwanError(
                .cannotWrite,
                "\(folder): cannot be removed: \(SwanError.reason(errno))"
            )
        }
        try Self.delete(doomed)
        try Self.delete(unfinished)
        return bytes
    }

    /// Removes a file or folder if it exists.
    package static func delete(_ path: String) throws(SwanError) {
        guard FileIdentity.isTaken(path) else { return }
        do {
            try FileManager.default.removeItem(atPath: path)
        } catch {
            throw SwanError(
                .cannotWrite,
                "\(path): cannot be removed: \(error.localizedDescription)",
                cause: error
            )
        }
    }

    private static func bytes(below folder: String) -> Int {
        let files = FileManager.default.enumerator(atPath: folder)
        var bytes = 0
        while let file = files?.nextObject() as? String {
            bytes += FileSize.of(folder + "/" + file) ?? 0
        }
        return bytes
    }
}

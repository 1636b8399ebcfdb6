import Foundation
import SwanStore
import SwanSystem

/// Where a model gathers, and where it stands when it is complete.
struct PullPlace: Sendable {
    /// The model's folder.
    let final: String
    /// The folder of what has arrived.
    let unfinished: String
    private let isInStore: Bool

    init(_ plan: PullPlan, _ options: ModelPull.Options, _ store: ModelStore) throws(SwanError) {
        isInStore = options.folder == nil
        if let folder = options.folder {
            final = Folder.path(folder)
            guard let name = Folder.name(of: final).nonEmpty, name != ".", name != ".." else {
                throw SwanError(.invalidRequest, "--output \(folder): give a folder of its own")
            }
            unfinished = Folder.path(of: final) + "/.\(name).swan-pull"
        } else {
            final = store.folder(of: plan.name)
            unfinished = store.unfinishedFolder(of: plan.name)
        }
    }

    var partsFolder: String { unfinished + "/parts" }
    var filesFolder: String { unfinished + "/files" }

    /// The path of a file until the model is complete.
    func file(_ path: String) -> String { filesFolder + "/" + path }

    /// Waits until no other process pulls this model.
    func lock(_ report: @Sendable (PullEvent) -> Void) async throws -> StoreLock {
        let path = unfinished + ".lock"
        var hasSaid = false
        while true {
            if let lock = try StoreLock(path) { return lock }
            if !hasSaid {
                report(.note("another process pulls \(final); waiting for it"))
                hasSaid = true
            }
            try await Task.sleep(for: .milliseconds(200))
        }
    }

    /// The model that stands here. Throws `exists` if what stands here is something else.
    func existing(_ plan: PullPlan) throws(SwanError) -> StoredModel? {
        guard FileIdentity.isTaken(final) else { return nil }
        guard let record = try PulledModel(ofFolder: final) else {
            if FileIdentity(final)?.isFolder == true, Folder.names(in: final).isEmpty { return nil }
            throw SwanError(
                .exists,
                "\(final): exists, and no pull has made it; "
                    + (isInStore ? "choose another name with --name" : "give another folder")
            )
        }
        guard record.sources.map(\.url) == plan.sources.map(\.url) else {
            throw SwanError(
                .exists,
                "'\(record.name)' is from \(record.sources.map(\.url).joined(separator: ", ")); "
                    + (isInStore
                        ? "choose another name with --name, or remove it with "
                            + "'swan models rm \(record.name)'" : "give another folder")
            )
        }
        return StoredModel(folder: final, record: record)
    }

    /// Takes a file of this machine: by a link, or as a copy if it is on another disk.
    func take(_ path: String, as name: String) throws {
        let target = file(name)
        try StoreFolder.make(Folder.path(of: target))
        try ModelStore.delete(target)
        if link(PartialFile.resolved(path), target) == 0 { return }
        do {
            try FileManager.default.copyItem(atPath: PartialFile.resolved(path), toPath: target)
        } catch {
            throw SwanError(
                .cannotWrite,
                "\(target): cannot be copied from \(path): \(error.localizedDescription)",
                cause: error
            )
        }
        OutputPath.sync(target)
    }

    /// Gives the complete model its name.
    func commit(_ plan: PullPlan, _ state: UnfinishedPull) throws -> StoredModel {
        var files = try plan.files.map { wanted in
            guard let file = state.files[wanted.path] else {
                throw SwanError(.io, "\(wanted.path): did not arrive")
            }
            return PulledModel.File(
                path: file.path,
                bytes: file.bytes,
                sha256: file.sha256,
                url: HubConnections.shown(wanted.url)
            )
        }
        for (name, text) in plan.written.sorted(by: { $0.key < $1.key }) {
            try OutputPath.write(Data(text.utf8), to: file(name))
            files.append(
                .init(
                    path: name,
                    bytes: text.utf8.count,
                    sha256: ContentHash.ofText(text),
                    url: nil
                )
            )
        }
        let record = PulledModel(
            name: plan.name,
            sources: plan.sources,
            license: plan.license,
            files: files,
            date: Date()
        )
        try record.write(toFolder: filesFolder)
        let old = unfinished + "/old"
        try ModelStore.delete(old)
        if FileIdentity.isTaken(final) { try move(final, old) }
        try move(filesFolder, final)
        OutputPath.sync(Folder.path(of: final))
        try ModelStore.delete(unfinished)
        return StoredModel(folder: final, record: record)
    }

    private func move(_ source: String, _ target: String) throws(SwanError) {
        guard rename(source, target) == 0 else {
            throw PartialFile.failure(target, creating: true, errno)
        }
    }
}

extension Substring {
    fileprivate var nonEmpty: String? { isEmpty ? nil : String(self) }
}

import Foundation
import SwanDistributed
import SwanSystem

extension TrainingRanks {
    /// Throws `peersDiffer` unless all ranks see the files that the first one writes to a folder.
    /// All ranks call this together.
    ///
    /// A network file system may show a new file late.
    package func requireShared(_ folder: String, patience: Duration = .seconds(5)) throws {
        let path = Folder.path(folder)
        let sign = try alone { try FolderSign(in: path) }
        let text = try gathered(sign?.text ?? "")[0]
        let seen = try gathered(FolderSign.isSeen(text, in: path, patience) ? "yes" : "no")
        let blind = seen.indices.filter { seen[$0] != "yes" }
        try sign?.remove(undoing: !blind.isEmpty)
        guard let first = blind.first else { return }
        let who =
            blind.count == 1
            ? world.roster.name(first) + " does"
            : "ranks \(blind.map(String.init).joined(separator: ", ")) do"
        throw SwanError(
            .peersDiffer,
            "\(folder): \(who) not see what rank 0 writes here; all ranks need the same output "
                + "folder, on a shared file system"
        )
    }
}

/// A hidden file of random content, by which other processes recognize a folder.
private struct FolderSign {
    /// What the file says, and its name ends with.
    let text = UUID().uuidString
    private let folder: String
    private let isNew: Bool

    private static func path(_ text: String, in folder: String) -> String {
        "\(folder)/.swan-shared-\(text)"
    }

    /// Writes the file, and makes the folder for it.
    init(in folder: String) throws {
        self.folder = folder
        let files = FileManager.default
        isNew = !files.fileExists(atPath: folder)
        do {
            try files.createDirectory(atPath: folder, withIntermediateDirectories: true)
            try OutputPath.write(text.utf8, to: Self.path(text, in: folder))
        } catch let error as CocoaError {
            throw SwanError(writing: folder, error)
        }
    }

    /// Removes the file; with `undoing`, the folder too if it was made for it.
    func remove(undoing: Bool) throws {
        do {
            try FileManager.default.removeItem(atPath: Self.path(text, in: folder))
            if undoing, isNew, Folder.names(in: folder).isEmpty {
                try FileManager.default.removeItem(atPath: folder)
            }
        } catch {
            throw SwanError(writing: folder, error)
        }
    }

    /// Whether a folder has the file of a text, at the latest after a while.
    static func isSeen(_ text: String, in folder: String, _ patience: Duration) -> Bool {
        let end = ContinuousClock.now + patience
        while !FileManager.default.fileExists(atPath: path(text, in: folder)) {
            guard .now < end else { return false }
            Thread.sleep(forTimeInterval: 0.1)
            // Makes a client of NFS ask its server again.
            _ = Folder.names(in: Folder.path(of: folder))
            _ = Folder.names(in: folder)
        }
        return true
    }
}

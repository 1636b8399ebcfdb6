import Foundation
import SwanSystem

extension ModelFolderWriter {
    /// Links a part's files of another model, under names that `ModelFolder` finds.
    package func link(_ files: ModelFolder.Files, as part: ModelFolder.Part) throws {
        let usual = try path(of: part)
        let folder = URL(fileURLWithPath: usual).deletingLastPathComponent()
        let name = URL(fileURLWithPath: files.data).lastPathComponent
        var links: [String: String] = [:]
        if name.hasSuffix(".index.json") {
            links[usual + ".index.json"] = files.data
            for shard in try Self.shards(files.data) {
                links[folder.appending(path: shard).path] =
                    URL(fileURLWithPath: files.data).deletingLastPathComponent()
                    .appending(path: shard).path
            }
        } else if part == .tokenizer || name.hasSuffix(".safetensors") {
            links[usual] = files.data
        } else {
            // Files of other kinds are known by the names that they were published with.
            links[root.appending(path: name).path] = files.data
        }
        if let config = files.config { links[folder.appending(path: "config.json").path] = config }
        for (path, target) in links { try Self.link(target, at: path) }
    }

    /// Links a file of another model at a name in the folder.
    package func link(_ file: String, named name: String) throws {
        let url = root.appending(path: name)
        try FileManager.default.createDirectory(
            at: url.deletingLastPathComponent(),
            withIntermediateDirectories: true
        )
        try Self.link(file, at: url.path)
    }

    private static func link(_ target: String, at path: String) throws {
        let manager = FileManager.default
        let isLink = (try? manager.destinationOfSymbolicLink(atPath: path)) != nil
        if isLink { try manager.removeItem(atPath: path) }
        try manager.createSymbolicLink(
            atPath: path,
            withDestinationPath: URL(fileURLWithPath: target).resolvingSymlinksInPath().path
        )
    }
}

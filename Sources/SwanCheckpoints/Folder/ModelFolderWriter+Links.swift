import Foundation
import SwanSystem

extension ModelFolderWriter {
    /// Links a part's files of another model, in the layout of Swan's folders.
    package func link(_ files: ModelFolder.Files, as part: ModelFolder.Part) throws {
        let usual = try path(of: part)
        let folder = URL(fileURLWithPath: usual).deletingLastPathComponent()
        if files.data.hasSuffix(".index.json") {
            try linkShards(files.data, in: folder)
        } else {
            let suffix = URL(fileURLWithPath: files.data).pathExtension
            let isUsual = part == .tokenizer || suffix == "safetensors"
            let name = isUsual ? usual : usual.replacing(/safetensors$/, with: suffix)
            try link(files.data, at: name)
        }
        if let config = files.config {
            try link(config, at: folder.appending(path: "config.json").path)
        }
    }

    /// Links an index and the files beside it that it can name.
    private func linkShards(_ index: String, in folder: URL) throws {
        let source = Folder.path(of: index)
        for name in Folder.names(in: source)
        where name.hasSuffix(".safetensors") || name == Folder.name(of: index) {
            try link("\(source)/\(name)", at: folder.appending(path: name).path)
        }
    }

    /// Links a file of another model at a name in the folder.
    package func link(_ file: String, named name: String) throws {
        let url = root.appending(path: name)
        try FileManager.default.createDirectory(
            at: url.deletingLastPathComponent(),
            withIntermediateDirectories: true
        )
        try link(file, at: url.path)
    }

    private func link(_ target: String, at path: String) throws {
        let manager = FileManager.default
        let isLink = (try? manager.destinationOfSymbolicLink(atPath: path)) != nil
        if isLink { try manager.removeItem(atPath: path) }
        try manager.createSymbolicLink(
            atPath: path,
            withDestinationPath: URL(fileURLWithPath: target).resolvingSymlinksInPath().path
        )
    }
}

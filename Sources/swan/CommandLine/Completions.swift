import ArgumentParser
import Foundation
import SwanCheckpoints

/// What a shell offers for a word of a command line.
enum Completions {
    /// Names of bundled models, and files and folders.
    static var model: CompletionKind {
        .custom { _, _, word in
            BundledModels.names.filter { $0.hasPrefix(word) } + paths(word)
        }
    }

    /// The styles that the model of the command line lists.
    static var prompt: CompletionKind {
        .custom { words, _, word in
            let option = words.lastIndex(of: "--model").map { words.index(after: $0) }
            let model = option.flatMap { words.indices.contains($0) ? words[$0] : nil }
            // A model that cannot be read has nothing to offer.
            guard let styles = try? KnownStyles.ofModel(model ?? BundledModels.names[0]) else {
                return []
            }
            return styles.known.map(\.name).filter { $0.hasPrefix(unquoted(word)) }
        }
    }

    /// The devices that a machine may have.
    static var device: CompletionKind { .list(["auto", "cpu", "cuda", "cuda:0", "cuda:1"]) }

    /// Files and folders that begin as a word does, folders with a slash.
    private static func paths(_ word: String) -> [String] {
        let end = word.lastIndex(of: "/").map { word.index(after: $0) } ?? word.startIndex
        let (folder, start) = (String(word[..<end]), word[end...])
        let path = folder.isEmpty ? "." : NSString(string: folder).expandingTildeInPath
        guard let names = try? FileManager.default.contentsOfDirectory(atPath: path) else {
            return []
        }
        return names.filter { $0.hasPrefix(start) && ($0.hasPrefix(".") == start.hasPrefix(".")) }
            .sorted().map { name in
                var isFolder: ObjCBool = false
                _ = FileManager.default.fileExists(
                    atPath: path + "/" + name,
                    isDirectory: &isFolder
                )
                return folder + name + (isFolder.boolValue ? "/" : "")
            }
    }

    /// A word without the quote that begins it.
    private static func unquoted(_ word: String) -> Substring {
        word.drop { $0 == "\"" || $0 == "'" }
    }
}

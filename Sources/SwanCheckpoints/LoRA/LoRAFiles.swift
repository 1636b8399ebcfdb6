import Foundation
import SwanSystem

/// Where the files of a LoRA are.
package enum LoRAFiles {
    /// The names that PEFT and diffusers give to the weights in a folder.
    private static let names = [
        "adapter_model.safetensors", "pytorch_lora_weights.safetensors", "adapter_model.bin",
    ]

    /// The file with the weights: the path itself, or in a folder the one with a known name or the
    /// only one.
    static func weights(_ path: String) throws(SwanError) -> String {
        guard isFolder(path) else { return path }
        let folder = Folder.path(path)
        let known = names.map { "\(folder)/\($0)" }
        if let file = known.first(where: FileManager.default.fileExists) { return file }
        let files = weightFiles(in: folder)
        guard files.count == 1 else {
            throw SwanError(
                files.isEmpty ? .noSuchFile : .isDirectory,
                files.isEmpty
                    ? "\(path): the folder has no LoRA (\(names[0]), \(names[1]) or another "
                        + ".safetensors file)"
                    : "\(path): the folder has \(files.count) .safetensors files; name one of them"
            )
        }
        return "\(folder)/\(files[0])"
    }

    /// PEFT's settings of the weights in a file, if they stand beside it.
    static func settings(of file: String) -> String? {
        let folder = Folder.path(of: file)
        let path = "\(folder)/\(LoRASettings.fileName)"
        guard FileManager.default.fileExists(atPath: path) else { return nil }
        // Beside other files, they are not those of this one.
        let isPEFT = Folder.name(of: file).hasPrefix("adapter_model")
        return isPEFT || weightFiles(in: folder).count == 1 ? path : nil
    }

    /// The files in a folder with one LoRA for each of two experts, as they are published; nil for
    /// any other path.
    package static func pair(in path: String) -> (highNoise: String, lowNoise: String)? {
        guard isFolder(path) else { return nil }
        let files = weightFiles(in: path).map { "\(Folder.path(path))/\($0)" }
        let high = files.filter { isForLowNoise($0) == false }
        let low = files.filter { isForLowNoise($0) == true }
        guard files.count == 2, high.count == 1, low.count == 1 else { return nil }
        return (high[0], low[0])
    }

    /// Whether a file's name says that it is for the low-noise expert, or the other; nil if it says
    /// neither.
    package static func isForLowNoise(_ file: String) -> Bool? {
        let words = Set(Folder.name(of: file).lowercased().split { !$0.isLetter })
        let isHigh = !words.isDisjoint(with: ["high", "highnoise"])
        let isLow = !words.isDisjoint(with: ["low", "lownoise"])
        return isHigh == isLow ? nil : isLow
    }

    private static func isFolder(_ path: String) -> Bool {
        var isFolder: ObjCBool = false
        return FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
            && isFolder.boolValue
    }

    private static func weightFiles(in folder: String) -> [String] {
        Folder.names(in: folder).filter { $0.hasSuffix(".safetensors") }.sorted()
    }
}

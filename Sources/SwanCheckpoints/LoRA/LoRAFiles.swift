import Foundation
import SwanSystem

/// Where the files of a LoRA are.
enum LoRAFiles {
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

    private static func isFolder(_ path: String) -> Bool {
        var isFolder: ObjCBool = false
        return FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
            && isFolder.boolValue
    }

    private static func weightFiles(in folder: String) -> [String] {
        Folder.names(in: folder).filter { $0.hasSuffix(".safetensors") }.sorted()
    }
}

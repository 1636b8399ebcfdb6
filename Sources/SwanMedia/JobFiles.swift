import Glibc
package import SwanSystem

/// The files that a job reads and writes, checked before it does any work.
///
/// Files are compared by identity, not by path, so links and different spellings of a path are
/// detected.
package struct JobFiles: Sendable {
    /// An output of a job.
    package struct Output: Sendable {
        /// The path as given.
        package let path: String
        let pattern: FramePattern?
        var isFolder = false

        /// A single file.
        package static func file(_ path: String) -> Self { Self(path: path, pattern: nil) }

        /// A folder in which the job chooses the file names.
        package static func folder(_ path: String) -> Self {
            Self(path: path, pattern: nil, isFolder: true)
        }

        /// The output of a `VideoWriter` for a path: a file, or numbered pictures in a folder.
        package static func video(_ path: String, format: String? = nil) -> Self {
            do throws(SwanError) {
                if case .pictureSequence(let pattern, _) = try OutputFormat(
                    path: path,
                    codec: .automatic,
                    format: format
                ) {
                    return Self(path: path, pattern: pattern)
                }
            } catch {
                // The path is not a supported video; opening it reports the error.
            }
            return .file(path)
        }
    }

    /// Input files, `-` for standard input.
    package var inputs: [String] = []
    /// Model files and folders. Every file in a folder that could be part of a model counts as an
    /// input.
    package var models: [String] = []
    /// Output files, `-` for standard output.
    package var outputs: [Output] = []

    /// Creates an empty list of inputs and outputs.
    package init() {}

    /// Throws `isInput` if an output is also an input, or the same file as another output.
    package func check() throws(SwanError) {
        let inputFiles = InputFiles(inputs: inputs, models: models)
        for output in outputs { try output.check(against: inputFiles) }
        for (index, output) in outputs.enumerated() {
            for other in outputs[..<index] where output.isSame(as: other) {
                throw SwanError(
                    .isInput,
                    other.path == output.path
                        ? "\(output.path): is used for two outputs; use different files"
                        : "\(other.path) and \(output.path): are the same file; use different files"
                )
            }
        }
    }

    /// Outputs that already exist: files that would be replaced, or images that match a pattern.
    package var existing: [String] { outputs.compactMap(\.existing) }

    /// Removes partial files that killed processes left in the output folders.
    ///
    /// - Returns: The paths of the removed files, escaped for a terminal.
    package func removeLeftovers() -> [String] {
        Set(outputs.map(\.folder)).sorted().flatMap { folder in
            Leftovers.remove(from: folder).map { name in
                let name = name.printable(limit: 255)
                return folder == "." ? name : "\(folder)/\(name)"
            }
        }
    }
}

// MARK: - Inputs

/// The input files and folders by identity.
private struct InputFiles {
    /// The name of each file for messages.
    private(set) var files: [FileIdentity: String] = [:]
    private(set) var folders: [FileIdentity: String] = [:]

    /// Limits the search in folders that are not model folders.
    private static let maxEntries = 20_000
    private static let maxDepth = 4

    init(inputs: [String], models: [String]) {
        for path in inputs {
            let identity =
                path == "-" ? FileIdentity(descriptor: STDIN_FILENO) : FileIdentity(path)
            add(path == "-" ? "standard input" : path, identity)
            if identity?.isRegularFile != true { addPictures(of: path) }
        }
        for path in models {
            guard let identity = FileIdentity(path) else { continue }
            add(path, identity)
            if identity.isFolder { addFiles(of: path) }
        }
    }

    /// Adds the pictures that a folder or a pattern stands for.
    private mutating func addPictures(of name: String) {
        do throws(SwanError) {
            for path in try PictureSequence(named: name)?.files ?? [] {
                add(path, FileIdentity(path))
            }
        } catch {
            // Opening the input reports that there are none.
        }
    }

    private mutating func add(_ path: String, _ identity: FileIdentity?) {
        guard let identity else { return }
        let path = path.printable(limit: 4_096)
        if identity.isRegularFile { files[identity] = files[identity] ?? path }
        if identity.isFolder { folders[identity] = folders[identity] ?? path }
    }

    /// Whether a file with this name could be part of a model: weights, configurations and
    /// vocabularies, but not a video or a summary in the same folder.
    private static func isPartOfModel(_ name: String) -> Bool {
        let name = name.lowercased()
        let ending = name.split(separator: ".").last ?? ""
        if ending == "json" {
            return ["config", "index", "token"].contains { name.contains($0) }
        }
        return [
            "safetensors", "pth", "pt", "bin", "ckpt", "gguf", "model", "yaml", "yml", "txt",
        ].contains(ending)
    }

    /// Adds the files of a folder, breadth first.
    private mutating func addFiles(of folder: String) {
        var level = [folder]
        var seen: Set<FileIdentity> = []
        var left = Self.maxEntries
        for _ in 0..<Self.maxDepth {
            var next: [String] = []
            for folder in level {
                for name in Folder.names(in: folder).sorted().prefix(left) {
                    left -= 1
                    let path = folder + "/" + name
                    guard let identity = FileIdentity(path) else { continue }
                    if identity.isFolder, seen.insert(identity).inserted { next.append(path) }
                    if Self.isPartOfModel(name) { add(path, identity) }
                }
            }
            level = next
        }
    }
}

// MARK: - Outputs

extension JobFiles.Output {
    fileprivate var folder: String {
        if let pattern { return Folder.path(pattern.directory ?? "") }
        return Folder.path(of: path)
    }

    fileprivate var existing: String? {
        guard path != "-", !isFolder else { return nil }
        if pattern != nil { return frames.first }
        guard FileIdentity.isTaken(path) else { return nil }
        // Pipes and devices are written to, not replaced.
        guard let identity = FileIdentity(path) else { return path }
        return identity.isRegularFile ? path : nil
    }

    /// Existing files that match the pattern.
    private var frames: [String] {
        guard let pattern else { return [] }
        let before = pattern.directory ?? ""
        return Folder.names(in: folder).sorted().map { before + $0 }
            .filter { pattern.number(of: $0) != nil }
    }

    fileprivate func check(against inputs: InputFiles) throws(SwanError) {
        if isFolder || pattern != nil && path.hasSuffix("/"), let identity = FileIdentity(path),
            let folder = inputs.folders[identity]
        {
            throw SwanError(
                .isInput,
                "\(path): is \(name(folder)), which is an input; use a different output folder"
            )
        }
        let files = isFolder ? [] : pattern == nil ? [path] : frames
        for file in files {
            let identity =
                file == "-" ? FileIdentity(descriptor: STDOUT_FILENO) : FileIdentity(file)
            guard let identity, identity.isRegularFile, let name = inputs.files[identity] else {
                continue
            }
            let output = file == "-" ? "standard output" : file
            throw SwanError(
                .isInput,
                name == file
                    ? "\(file): is an input and would be replaced; use a different output"
                    : "\(output): is the same file as \(name), an input that would be replaced; "
                        + "use a different output"
            )
        }
    }

    private func name(_ input: String) -> String {
        input == path ? "a folder" : "the same folder as \(input)"
    }

    fileprivate func isSame(as other: Self) -> Bool {
        guard path != "-", other.path != "-" else { return false }
        switch (pattern, other.pattern) {
        case (nil, nil):
            if let file = FileIdentity(path), let another = FileIdentity(other.path) {
                return file.isRegularFile && file == another
            }
            return Folder.name(of: path) == Folder.name(of: other.path) && isInSameFolder(as: other)
                && FileIdentity(path) == nil && FileIdentity(other.path) == nil
        case (let pattern?, nil):
            let name = (pattern.directory ?? "") + Folder.name(of: other.path)
            return pattern.number(of: name) != nil && isInSameFolder(as: other)
        case (nil, _?): return other.isSame(as: self)
        case (let pattern?, let another?):
            return pattern.path(1) == another.path(1)
        }
    }

    private func isInSameFolder(as other: Self) -> Bool {
        guard let folderIdentity = FileIdentity(folder), let another = FileIdentity(other.folder)
        else {
            return folder == other.folder
        }
        return folderIdentity == another
    }
}

import Glibc
import SwanSystem

/// The files that a job reads and those it is to write, looked at before it does any work.
///
/// A file is told by what it is, not by its path: links and other spellings of a path are seen through.
public struct JobFiles: Sendable {
    /// Somewhere that a job writes to.
    public struct Output: Sendable {
        /// The path as it was given.
        public let path: String
        let pattern: FramePattern?
        var isFolder = false

        /// One file.
        public static func file(_ path: String) -> Self { Self(path: path, pattern: nil) }

        /// A folder that gets files of names of their own.
        public static func folder(_ path: String) -> Self {
            Self(path: path, pattern: nil, isFolder: true)
        }

        /// What a `VideoWriter` makes of a path: a file, or pictures by a pattern or in a folder.
        public static func video(_ path: String) -> Self {
            do throws(MediaError) {
                if case .pictures(let pattern) = try OutputFormat(path: path, codec: .automatic) {
                    return Self(path: path, pattern: pattern)
                }
            } catch {
                // One picture, or no name of a video: whoever opens it says so.
            }
            return .file(path)
        }
    }

    /// Files that are read, `-` for standard input.
    public var inputs: [String] = []
    /// A model's files and folders. In a folder all that could be a part of a model counts as read.
    public var models: [String] = []
    /// What is written, `-` for standard output.
    public var outputs: [Output] = []

    /// Nothing is read or written yet.
    public init() {}

    /// Throws `isInput` where an output is something that is read, or the same as another output.
    public func check() throws(MediaError) {
        let read = Read(inputs: inputs, models: models)
        for output in outputs { try output.check(against: read) }
        for (index, output) in outputs.enumerated() {
            for other in outputs[..<index] where output.isSame(as: other) {
                throw MediaError(
                    .isInput,
                    other.path == output.path
                        ? "\(output.path): is given for two outputs; give each its own file"
                        : "\(other.path) and \(output.path) are one file; give each output its own"
                )
            }
        }
    }

    /// Outputs that are there already: files that would be replaced, or pictures of a pattern.
    public var existing: [String] { outputs.compactMap(\.existing) }

    /// Removes what processes that were killed left of outputs in the same folders.
    ///
    /// - Returns: the paths of what was removed.
    public func removeLeftovers() -> [String] {
        Set(outputs.map(\.folder)).sorted().flatMap { folder in
            Leftovers.remove(from: folder).map { folder == "." ? $0 : "\(folder)/\($0)" }
        }
    }
}

// MARK: - What is read

/// What is read, by its identity.
private struct Read {
    /// What each file is called.
    private(set) var files: [FileIdentity: String] = [:]
    private(set) var folders: [FileIdentity: String] = [:]

    /// A model's folder has few files; a folder of anything is not searched without end.
    private static let mostEntries = 20_000
    private static let deepest = 4

    init(inputs: [String], models: [String]) {
        for path in inputs {
            let identity =
                path == "-" ? FileIdentity(descriptor: STDIN_FILENO) : FileIdentity(path)
            add(path == "-" ? "standard input" : path, identity)
        }
        for path in models {
            guard let identity = FileIdentity(path) else { continue }
            add(path, identity)
            if identity.isFolder { addFiles(of: path) }
        }
    }

    private mutating func add(_ path: String, _ identity: FileIdentity?) {
        guard let identity else { return }
        if identity.isRegularFile { files[identity] = files[identity] ?? path }
        if identity.isFolder { folders[identity] = folders[identity] ?? path }
    }

    /// Whether a file of this name could be read with a model: weights, configurations, vocabularies;
    /// not a video or a summary that was written beside them.
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

    /// The nearest first.
    private mutating func addFiles(of folder: String) {
        var level = [folder]
        var seen: Set<FileIdentity> = []
        var left = Self.mostEntries
        for _ in 0..<Self.deepest {
            var next: [String] = []
            for folder in level {
                for name in FolderListing.names(in: folder).sorted().prefix(left) {
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

// MARK: - What is written

extension JobFiles.Output {
    fileprivate var folder: String {
        if let pattern { return Folder.path(pattern.directory ?? "") }
        return Folder.path(of: path)
    }

    fileprivate var existing: String? {
        guard path != "-", !isFolder else { return nil }
        if pattern != nil { return frames.first }
        guard FileIdentity.isTaken(path) else { return nil }
        // A pipe or a device is written to, not replaced.
        guard let identity = FileIdentity(path) else { return path }
        return identity.isRegularFile ? path : nil
    }

    /// Pictures of the pattern that are there.
    private var frames: [String] {
        guard let pattern else { return [] }
        let before = pattern.directory ?? ""
        return FolderListing.names(in: folder).sorted().map { before + $0 }
            .filter { pattern.number(of: $0) != nil }
    }

    fileprivate func check(against read: Read) throws(MediaError) {
        if isFolder || pattern != nil && path.hasSuffix("/"), let identity = FileIdentity(path),
            let folder = read.folders[identity]
        {
            throw MediaError(
                .isInput,
                "\(path): is \(name(folder)), which is read; give the output a folder of its own"
            )
        }
        let files = isFolder ? [] : pattern == nil ? [path] : frames
        for file in files {
            let identity =
                file == "-" ? FileIdentity(descriptor: STDOUT_FILENO) : FileIdentity(file)
            guard let identity, identity.isRegularFile, let name = read.files[identity] else {
                continue
            }
            let output = file == "-" ? "standard output" : file
            throw MediaError(
                .isInput,
                name == file
                    ? "\(file): is read and would be replaced; give the output another name"
                    : "\(output): is the same file as \(name), which is read and would be "
                        + "replaced; give the output another name"
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
            return Folder.name(of: path) == Folder.name(of: other.path) && isBeside(other)
                && FileIdentity(path) == nil && FileIdentity(other.path) == nil
        case (let pattern?, nil):
            let name = (pattern.directory ?? "") + Folder.name(of: other.path)
            return pattern.number(of: name) != nil && isBeside(other)
        case (nil, _?): return other.isSame(as: self)
        case (let pattern?, let another?):
            return pattern.path(1) == another.path(1)
        }
    }

    private func isBeside(_ other: Self) -> Bool {
        guard let place = FileIdentity(folder), let another = FileIdentity(other.folder) else {
            return folder == other.folder
        }
        return place == another
    }
}

/// The parts of a path.
enum Folder {
    /// The folder that a file lies in.
    static func path(of file: String) -> String {
        file.lastIndex(of: "/").map { path(String(file[...$0])) } ?? "."
    }

    /// Without the slashes at its end.
    static func path(_ folder: String) -> String {
        var folder = folder[...]
        while folder.count > 1, folder.last == "/" { folder = folder.dropLast() }
        return folder.isEmpty ? "." : String(folder)
    }

    static func name(of file: String) -> Substring {
        file.lastIndex(of: "/").map { file[$0...].dropFirst() } ?? file[...]
    }
}

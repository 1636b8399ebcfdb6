import Foundation
import Glibc
public import SwanSystem

/// Files of pictures that together are a video.
public struct PictureSequence: Sendable, Hashable {
    /// The name that stands for them.
    public let name: String
    /// Their paths, in order.
    public let files: [String]
    /// The numbers that are missing between the first and the last one; empty without numbers.
    public var missing: [Int] = []

    /// The endings of picture files.
    static let endings: Set<String> = [
        "png", "jpg", "jpeg", "jpe", "webp", "bmp", "tif", "tiff", "ppm", "pgm", "pbm", "pam",
        "qoi",
        "jxl", "avif",
    ]

    /// Takes pictures in the given order.
    public init(name: String, files: [String]) {
        self.name = name
        self.files = files
    }

    /// Finds the pictures that a name stands for; `nil` if it is that of a file, or of nothing.
    ///
    /// - A folder stands for the pictures in it, in natural order.
    /// - `frames/%05d.png` stands for the files with a number in that place, in the numbers' order.
    /// - `frames/*.jpg` stands for the files that match, in natural order.
    ///
    /// The name of an existing file is that of the file. Throws if there are no pictures.
    public init?(named name: String) throws(SwanError) {
        guard name != "-", !name.isEmpty, !name.utf8.contains(0) else { return nil }
        if let identity = FileIdentity(name) {
            guard identity.isFolder else { return nil }
            try self.init(folder: name)
        } else if let numbered = Self.numbered(name) {
            guard let last = numbered.last else { throw Self.nothing(name) }
            self.init(name: name, files: numbered.map(\.path))
            let numbers = Set(numbered.map(\.number))
            missing = Array(
                (numbered[0].number...last.number).lazy.filter { !numbers.contains($0) }
                    .prefix(1_000)
            )
        } else if Self.hasWildcards(name) {
            let files = Self.matches(name)
            guard !files.isEmpty else { throw Self.nothing(name) }
            self.init(name: name, files: files)
        } else {
            return nil
        }
    }

    private init(folder: String) throws(SwanError) {
        let names = Folder.names(in: folder).filter { !$0.hasPrefix(".") && Self.isPicture($0) }
        guard !names.isEmpty else {
            throw SwanError(
                .isDirectory,
                "\(folder): is a directory without pictures (.png, .jpg, .webp, …), not a video file"
            )
        }
        let before = folder.hasSuffix("/") ? folder : folder + "/"
        self.init(name: folder, files: names.sorted(by: Self.isBefore).map { before + $0 })
    }

    private static func nothing(_ name: String) -> SwanError {
        SwanError(.noSuchFile, "\(name): no such file, and no files match this pattern")
    }

    /// Whether a file is a picture, by its name.
    package static func isPicture(_ path: String) -> Bool {
        endings.contains(Folder.ending(of: path))
    }

    // MARK: - Numbers

    /// The files that match a pattern with a number; `nil` if it is none.
    private static func numbered(_ name: String) -> [(number: Int, path: String)]? {
        guard name.contains("%") else { return nil }
        let pattern: FramePattern
        do throws(SwanError) {
            pattern = try FramePattern(name)
        } catch {
            // Not a pattern: the name of a file, which will be reported as missing.
            return nil
        }
        let before = pattern.directory ?? ""
        return Folder.names(in: Folder.path(before)).map { before + $0 }
            .compactMap { path in pattern.number(of: path, from: 0).map { ($0, path) } }
            .sorted { $0.number < $1.number }
    }

    /// How many files are numbered as this one is, itself included, and the pattern for all of them.
    package static func siblings(of path: String) -> (count: Int, pattern: String)? {
        let name = Folder.name(of: path)
        guard isPicture(path), !path.contains("%"),
            let digits = name.dropLast(Folder.ending(of: path).count + 1).ranges(of: /[0-9]+/).last
        else { return nil }
        let width = name[digits].count
        let number = name[digits].first == "0" && width > 1 ? "%0\(width)d" : "%d"
        var pattern = path.dropLast(name.count) + name[..<digits.lowerBound] + number
        pattern += name[digits.upperBound...]
        // A width that only some numbers fill.
        let wide =
            path.dropLast(name.count) + name[..<digits.lowerBound] + "%0\(width)d"
            + name[digits.upperBound...]
        let found = [String(pattern), String(wide)].map { ($0, numbered($0)?.count ?? 0) }
            .max { $0.1 < $1.1 }
        guard let found, found.1 > 1 else { return nil }
        return (found.1, found.0)
    }

    // MARK: - Wildcards

    /// Whether a name has characters that stand for others, as in a shell.
    package static func hasWildcards(_ name: String) -> Bool {
        name.contains { "*?[".contains($0) }
    }

    /// The files that match a pattern, in natural order.
    package static func matches(_ pattern: String) -> [String] {
        var found = glob_t()
        defer { globfree(&found) }
        guard glob(pattern, GLOB_NOSORT, nil, &found) == 0 else { return [] }
        return (0..<Int(found.gl_pathc))
            .compactMap { index in
                found.gl_pathv[index].flatMap { String(validatingCString: $0) }
            }
            .filter { FileIdentity($0)?.isFolder == false }
            .sorted(by: isBefore)
    }

    /// Whether one name comes before another if numbers in them are compared as numbers.
    package static func isBefore(_ one: String, _ other: String) -> Bool {
        switch one.compare(other, options: [.numeric, .caseInsensitive]) {
        case .orderedAscending: true
        case .orderedDescending: false
        case .orderedSame: one < other
        }
    }
}

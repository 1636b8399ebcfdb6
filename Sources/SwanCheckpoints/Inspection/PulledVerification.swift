import Foundation
import SwanMedia
import SwanStore
import SwanSystem

/// Whether the files of a pulled model are still those that were downloaded. For models that are
/// not whole, such as an autoencoder or a LoRA; `ModelVerification` includes this for others.
public struct PulledVerification: Sendable, Encodable {
    /// The folder's path.
    public let path: String
    /// The files that are there.
    public let files: [ModelVerification.File]
    /// What is missing, and what differs from what was downloaded.
    public let problems: [String]

    /// Whether no problems were found.
    public var isSound: Bool { problems.isEmpty }

    /// A human-readable report, line by line.
    public var lines: [String] {
        let longest = ModelInspection.longestPath
        var lines = [path.printable(limit: longest)]
        for file in files {
            lines.append(
                "    \(file.sha256)  \(file.bytes)  \(file.path.printable(limit: longest))"
            )
        }
        lines += problems.map { "  PROBLEM: \($0)" }
        return lines + [
            "  " + (isSound ? "sound: the files are those that were pulled" : "NOT SOUND")
        ]
    }

    /// Verifies a pulled model that lacks parts of a whole one; nil for any other.
    ///
    /// - Parameter nameOrPath: Its name, its folder or its only file.
    public init?(_ nameOrPath: String) throws {
        let place = ModelLocation.path(nameOrPath)
        let folder = FileIdentity(place)?.isFolder == true ? place : Folder.path(of: place)
        guard let record = try PulledModel(ofFolder: folder), !Self.isWhole(place) else {
            return nil
        }
        path = folder
        (files, problems) = Self.compare(record, folder, sums: [:])
    }

    /// Compares a folder's files with the record of their pull.
    ///
    /// - Parameter sums: Checksums that were computed already, by path.
    static func compare(
        _ record: PulledModel,
        _ folder: String,
        sums: [String: String]
    ) -> (files: [ModelVerification.File], problems: [String]) {
        var files: [ModelVerification.File] = []
        var problems: [String] = []
        for file in record.files {
            let path = folder + "/" + file.path
            guard let bytes = FileSize.of(path) else {
                problems.append("\(path): is missing")
                continue
            }
            do throws(SwanError) {
                let sum: String
                if let known = sums[path] {
                    sum = known
                } else {
                    sum = try FileDigest.sha256(path)
                }
                files.append(.init(path: path, bytes: bytes, sha256: sum))
                guard sum == file.sha256 else {
                    problems.append(
                        "\(path): has changed since it was downloaded; its SHA-256 was \(file.sha256)"
                    )
                    continue
                }
            } catch {
                problems.append(error.message)
            }
        }
        if !problems.isEmpty {
            problems.append(
                "'swan models pull --check \(record.name)' downloads again what is wrong"
            )
        }
        return (files, problems)
    }

    private static func isWhole(_ path: String) -> Bool {
        do {
            return try ModelFolder(path).missing().isEmpty
        } catch {
            return false
        }
    }
}

import Foundation
import SwanSystem

/// The cache of Hugging Face's programs: `models--OWNER--NAME` with `blobs`, `refs` and `snapshots`.
enum HubCache {
    /// The folder with a model's files if `path` is its folder in a cache: the snapshot that `refs/main`
    /// names, or the only one. Else `path`.
    ///
    /// - Throws: `noSuchModel` if there are several and nothing says which one to use.
    static func resolved(_ path: String) throws(SwanError) -> String {
        let snapshots = path + "/snapshots"
        guard URL(fileURLWithPath: path).lastPathComponent.hasPrefix("models--"),
            FileIdentity(snapshots)?.isFolder == true
        else { return path }
        do {
            let names = try FileManager.default.contentsOfDirectory(atPath: snapshots).sorted()
            if FileIdentity.isTaken(path + "/refs/main") {
                let main = try SmallFile.text(path + "/refs/main")
                    .trimmingCharacters(in: .whitespacesAndNewlines)
                if names.contains(main) { return snapshots + "/" + main }
            }
            if names.count == 1 { return snapshots + "/" + names[0] }
            throw SwanError(
                .noSuchModel,
                "\(path): is a model in a cache with \(names.count) snapshots; specify the folder of"
                    + " one, in \(snapshots)"
            )
        } catch let error as SwanError {
            throw error
        } catch {
            throw SwanError(.noSuchModel, "\(path): \(error.localizedDescription)", cause: error)
        }
    }
}

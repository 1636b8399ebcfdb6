import Foundation
import SwanSystem

/// The models that are bundled with Swan.
public enum BundledModels {
    /// The names of the bundled models.
    public static let names = ["tiny"]

    /// The folder of a bundled model; nil for any other name, or if the resources are not installed.
    ///
    /// Resources are next to the executable, under `share/` of its prefix, or in the source tree it
    /// was built from.
    public static func folder(_ name: String) -> String? {
        guard names.contains(name) else { return nil }
        let program = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
            .deletingLastPathComponent()
        let places = [
            program.appendingPathComponent("swan_SwanCheckpoints.resources"),
            program.deletingLastPathComponent().appendingPathComponent("share/swan"),
            URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
                .appendingPathComponent("Resources"),
        ]
        return places.map { $0.appendingPathComponent(name).path }
            .first { FileManager.default.fileExists(atPath: $0) }
    }

    /// The error for a name or a path that leads to no model, with what would be right.
    static func missing(_ nameOrPath: String) -> SwanError {
        SwanError(
            .noSuchModel,
            "there is no model at \(nameOrPath): specify a folder, or a name listed by "
                + "'swan models list'\(ModelLocation.advice(nameOrPath))"
        )
    }
}

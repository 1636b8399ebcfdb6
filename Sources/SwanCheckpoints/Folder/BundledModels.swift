import Foundation

/// The models that come with Swan.
public enum BundledModels {
    /// Their names.
    public static let names = ["tiny"]

    /// The folder of a bundled model; nil for another name, or where the resources are not installed.
    ///
    /// They lie beside the program, under `share/` of its prefix, or in the sources it was built from.
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
}

import Foundation
import GoldenSupport
import ModelSupport
import SwanMedia

/// A random checkpoint of every model and a picture, shared by all tests of `swan generate`.
final class GenerateFixture: Sendable {
    static let shared = Result { try GenerateFixture() }

    private let folder: TemporaryDirectory
    /// A picture of 48x32.
    let picture: String

    private init() throws {
        folder = try TemporaryDirectory()
        picture = folder.path("picture.png")
        atexit {
            if case .success(let fixture) = GenerateFixture.shared { fixture.remove() }
        }
        for model in RandomCheckpoint.Model.allCases {
            _ = try RandomCheckpoint(model, .original, at: folder.path(model.rawValue))
        }
        let pixels = (0..<(3 * 48 * 32)).map { UInt8($0 / 3 % 256) }
        try writePNG(VideoFrame(width: 48, height: 32, pixels: pixels), picture)
    }

    private func remove() {
        do {
            try FileManager.default.removeItem(at: folder.url)
        } catch {
            // Files left in the system's temporary folder do no harm.
        }
    }

    /// The folder of a checkpoint.
    func path(_ model: RandomCheckpoint.Model) -> String { folder.path(model.rawValue) }

    /// Arguments that generate five frames of 32x32 in two steps, unless `arguments` override them.
    func arguments(_ model: RandomCheckpoint.Model, _ arguments: [String]) -> [String] {
        var all = ["generate"] + arguments
        for (name, value) in [
            ("--model", path(model)), ("--frames", "5"), ("--steps", "2"), ("--device", "cpu"),
        ] where !arguments.contains(name) {
            all += [name, value]
        }
        if !arguments.contains("--size"), !arguments.contains("--area") {
            all += ["--size", "32x32"]
        }
        return all
    }

    /// Runs `swan generate` from start to end.
    func generate(
        _ model: RandomCheckpoint.Model,
        _ arguments: [String]
    ) throws -> Program.Outcome {
        try Program(self.arguments(model, arguments)).end()
    }
}

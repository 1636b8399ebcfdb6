import Foundation
import SwanCheckpoints
package import SwanMedia
package import SwanPipelines
package import SwanSystem
import SwanTraining
package import Torch

/// The options of a quality benchmark.
package struct QualityOptions: Sendable {
    /// The name of a bundled model, or the path of a model folder.
    package var model = BundledModels.names[0]
    /// LoRAs for the model, each of which gives it a look.
    package var loras: [GenerationOptions.LoRAFile] = []
    /// The videos to measure on; empty for those that the bundled model was not trained on.
    package var inputs: [String] = []
    /// The names of the styles to run; nil for all that the model was trained on.
    package var styles: [String]?
    /// Whether a style is requested only by its first phrasing, not also in sentences.
    package var isBare = false
    /// What to measure.
    package var measures = QualityMeasure.allCases
    /// The maximum number of frames to use of each video.
    package var maxFrames = 250
    /// The number of frames of the long streams.
    package var driftFrames = 3_000
    /// The seed of all random numbers.
    package var seed: UInt64 = 0
    /// The device to run the model on: `auto`, `cpu`, `cuda` or `cuda:1`.
    package var device = "auto"
    /// The dtype to convert the weights to; nil to choose by model and device.
    package var dtype: DType?
    /// The path of a PNG file for a contact sheet of the styles' outputs.
    package var sheet: String?
    /// Whether to replace a file with the sheet's name that exists by the end of the run.
    package var overwrites = true
    /// The index of the frame that the sheet shows; the last frame of shorter videos.
    package var sheetFrame = 40

    /// Creates options that measure everything on the bundled model.
    package init() {}

    /// The files that the benchmark reads and writes.
    package var files: JobFiles {
        var files = JobFiles()
        files.inputs = inputs.isEmpty ? HeldOutFootage.clips.map(\.path) : inputs
        files.models = [ModelLocation.path(model)] + loras.map(\.path)
        files.outputs = sheet.map { [.file($0)] } ?? []
        return files
    }

    /// Throws if an option is invalid, as far as can be checked without opening a file.
    package func check() throws(SwanError) {
        func require(_ holds: Bool, _ message: @autoclosure () -> String) throws(SwanError) {
            if !holds { throw SwanError(.invalidRequest, message()) }
        }
        try require(!measures.isEmpty, "no measure is specified")
        try require(styles?.isEmpty != true, "no style is specified")
        try require(
            measures != [.changes] || styles?.count != 1,
            "the measure 'changes' needs at least two styles"
        )
        try require(
            (2...100_000).contains(maxFrames),
            "invalid number of frames per video \(maxFrames): expected 2 to 100000"
        )
        try require(
            (20...10_000_000).contains(driftFrames),
            "invalid number of frames for drift \(driftFrames): expected 20 to 10000000"
        )
        try require(sheetFrame >= 0, "invalid sheet frame \(sheetFrame): frames start at 0")
        if let sheet {
            try require(
                sheet.lowercased().hasSuffix(".png"),
                "\(sheet): the sheet is a PNG file; specify a name that ends in .png"
            )
            try require(measures.contains(.styles), "a sheet needs the measure 'styles'")
        }
    }
}

/// The videos that the bundled model was not trained on.
enum HeldOutFootage {
    /// The paths relative to the repository root, where `scripts/bootstrap` puts the videos, with a note on
    /// each.
    static let clips = [
        (path: ".deps/media/bikes.mp4", note: "not in the training data"),
        (path: ".deps/media/carphone_pristine.mp4", note: "not in the training data"),
        (
            path: ".deps/media/bigbuckbunny.mp4",
            note: "this shot is not in the training data, other shots of the film are"
        ),
    ]

    /// Returns the paths; throws if a file is missing.
    static func paths() throws -> [String] {
        for clip in clips where !FileManager.default.fileExists(atPath: clip.path) {
            throw SwanError(
                .noSuchFile,
                "\(clip.path): no such file; run scripts/bootstrap and this command from the "
                    + "repository root, or specify a video with --input"
            )
        }
        return clips.map(\.path)
    }
}

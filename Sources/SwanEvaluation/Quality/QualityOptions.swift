import Foundation
import SwanCheckpoints
public import SwanMedia
import SwanPipelines
public import SwanSystem
import SwanTraining
public import Torch

/// What of which model is to be measured.
public struct QualityOptions: Sendable {
    /// A bundled model's name or a model's folder.
    public var model = BundledModels.names[0]
    /// Videos; empty for those that the bundled model was not trained on.
    public var inputs: [String] = []
    /// The names of the styles to run; nil for all that the model was taught.
    public var styles: [String]?
    /// Whether a style is asked for by its first phrasing alone, not by sentences too.
    public var isBare = false
    /// What is measured.
    public var measures = QualityMeasure.allCases
    /// Frames taken of each video.
    public var maxFrames = 250
    /// Frames of the long streams.
    public var driftFrames = 3_000
    /// Seed of all random numbers.
    public var seed: UInt64 = 0
    /// Where the model runs: `auto`, `cpu`, `cuda` or `cuda:1`.
    public var device = "auto"
    /// What the weights are converted to; nil for what the model or the device suggests.
    public var dtype: DType?
    /// A PNG file for a sheet of what came out of the styles.
    public var sheet: String?
    /// Whether a file that has the sheet's name at the end is replaced.
    public var overwrites = true
    /// The frame that the sheet shows; of shorter videos the last.
    public var sheetFrame = 40

    /// Everything of the bundled model.
    public init() {}

    /// What is read and what is written.
    public var files: JobFiles {
        var files = JobFiles()
        files.inputs = inputs.isEmpty ? HeldOutFootage.clips.map(\.path) : inputs
        files.models = [BundledModels.folder(model) ?? model]
        files.outputs = sheet.map { [.file($0)] } ?? []
        return files
    }

    /// Throws for what can be seen to be wrong without opening a file.
    public func check() throws(SwanError) {
        func require(_ holds: Bool, _ message: @autoclosure () -> String) throws(SwanError) {
            if !holds { throw SwanError(.invalidRequest, message()) }
        }
        try require(!measures.isEmpty, "nothing is to be measured")
        try require(styles?.isEmpty != true, "no style is named")
        try require(
            measures != [.changes] || styles?.count != 1,
            "changes go from one style to another: name two styles at least"
        )
        try require(
            (2...100_000).contains(maxFrames),
            "\(maxFrames) frames of a video: 2 to 100000 are possible"
        )
        try require(
            (20...10_000_000).contains(driftFrames),
            "\(driftFrames) frames of a long stream: 20 to 10000000 are possible"
        )
        try require(sheetFrame >= 0, "frame \(sheetFrame) for the sheet: they are counted from 0")
        if let sheet {
            try require(
                sheet.lowercased().hasSuffix(".png"),
                "\(sheet): the sheet is a PNG file, its name ends in .png"
            )
            try require(measures.contains(.styles), "a sheet needs the measure 'styles'")
        }
    }
}

/// Videos that the bundled model was not trained on.
enum HeldOutFootage {
    /// Paths from the repository's root, where `scripts/bootstrap` puts them, and what is to be known
    /// of them.
    static let clips = [
        (path: ".deps/media/bikes.mp4", note: "not in the training"),
        (path: ".deps/media/carphone_pristine.mp4", note: "not in the training"),
        (
            path: ".deps/media/bigbuckbunny.mp4",
            note: "this shot is not in the training, others of the same film are"
        ),
    ]

    /// The paths; throws where one is not there.
    static func paths() throws -> [String] {
        for clip in clips where !FileManager.default.fileExists(atPath: clip.path) {
            throw SwanError(
                .noSuchFile,
                "\(clip.path): no such clip here; scripts/bootstrap fetches it, to be run where "
                    + "the repository is, and so is this command; or name a video with --input"
            )
        }
        return clips.map(\.path)
    }
}

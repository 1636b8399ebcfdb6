import Foundation
import SwanSystem
import SwanThreads
import SwanTraining
import Torch

/// The latents of drawn scenes, computed ahead and kept in files of the run's folder.
///
/// Scene `n` is the sampler's, so that only latents are stored. Files that an earlier run has
/// completed are used again.
final class SceneLatents: Sendable {
    /// The number of clips in a file.
    static let perFile = 256
    private static let key = "latents"

    private let files: [SafetensorsFile]

    /// Opens the files of `count` clips, after making those that are missing.
    ///
    /// - Parameters:
    ///   - mark: What the latents depend on; files with another mark are made again.
    ///   - onProgress: Called after every file that was made.
    init(
        _ folder: URL,
        count: Int,
        maker: Maker,
        mark: String,
        stop: CancellationFlag,
        onProgress: (TrainingProgress) -> Void
    ) throws {
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let total = (count + Self.perFile - 1) / Self.perFile
        files = try (0..<total).map { number in
            let path = folder.appending(path: String(format: "%05d.safetensors", number)).path
            let first = number * Self.perFile
            let range = first..<min(count, first + Self.perFile)
            if let file = Self.complete(path, mark: mark, clips: range.count) { return file }
            let start = ContinuousClock.now
            let latents = try maker.latents(range, stop)
            try Safetensors.write([Self.key: latents], metadata: ["mark": mark], to: path)
            let seconds = (.now - start) / .seconds(1)
            onProgress(
                TrainingProgress(
                    stage: "latents",
                    step: number + 1,
                    of: total,
                    secondsPerStep: seconds
                )
            )
            return try SafetensorsFile(path: path)
        }
    }

    /// The file of an earlier run; nil if it is missing, damaged or of other clips, and has to be
    /// made again.
    private static func complete(_ path: String, mark: String, clips: Int) -> SafetensorsFile? {
        guard let file = try? SafetensorsFile(path: path), file.metadata["mark"] == mark,
            let latents = try? file.tensor(key), latents.size(0) == clips
        else { return nil }
        return file
    }

    /// The latents of scene `index`: [C, F, h, w], float32.
    func callAsFunction(_ index: Int) throws(SwanError) -> Tensor {
        try files[index / Self.perFile].tensor(Self.key)
            .selected(0, index % Self.perFile).to(.float32)
    }

    /// Draws and encodes clips.
    struct Maker {
        /// The number of clips that are encoded at once.
        private static let together = 16

        let scenes: SceneSampler
        /// The height and width in pixels.
        let size: Int
        let codec: LatentCodec

        /// Returns the latents of scenes: [N, C, F, h, w], float16.
        func latents(_ range: Range<Int>, _ stop: CancellationFlag) throws -> Tensor {
            var latents: [Tensor] = []
            for first in stride(from: range.lowerBound, to: range.upperBound, by: Self.together) {
                guard !stop.isCancelled else {
                    throw SwanError(
                        .interrupted,
                        "stopped after the latents of \(range.lowerBound) clips; --resume continues "
                            + "from there"
                    )
                }
                let next = first..<min(range.upperBound, first + Self.together)
                let clips = try next.map { try scenes.scene(UInt64($0)).clip(size: size) }
                latents.append(
                    try withoutGradients { try codec.encode(stacked(clips)).to(.float16) }
                )
            }
            return try concatenated(latents)
        }
    }
}

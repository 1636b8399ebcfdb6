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
    /// The number of clips that are encoded at once.
    private static let together = 16
    private static let key = "latents"

    private let files: [SafetensorsFile]
    private let count: Int

    /// Opens the files of `count` clips, after making those that are missing.
    ///
    /// - Parameters:
    ///   - mark: What the latents depend on; files with another mark are made again.
    ///   - onProgress: Called after every file.
    init(
        _ folder: URL,
        count: Int,
        scenes: SceneSampler,
        size: Int,
        codec: LatentCodec,
        mark: String,
        stop: CancellationFlag,
        onProgress: (TrainingProgress) -> Void
    ) throws {
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        self.count = count
        let total = (count + Self.perFile - 1) / Self.perFile
        var files: [SafetensorsFile] = []
        for number in 0..<total {
            let path = folder.appending(path: String(format: "%05d.safetensors", number)).path
            let first = number * Self.perFile
            // A file that cannot be read is made again.
            if let file = try? SafetensorsFile(path: path), file.metadata["mark"] == mark,
                try file.tensor(Self.key).size(0) == min(Self.perFile, count - first)
            {
                files.append(file)
                continue
            }
            let start = ContinuousClock.now
            var latents: [Tensor] = []
            let end = min(count, first + Self.perFile)
            for next in stride(from: first, to: end, by: Self.together) {
                guard !stop.isCancelled else {
                    throw SwanError(
                        .interrupted,
                        "stopped after the latents of \(first) clips; --resume continues from there"
                    )
                }
                let clips = try (next..<min(end, next + Self.together)).map {
                    try scenes.scene(UInt64($0)).clip(size: size)
                }
                latents.append(
                    try withoutGradients { try codec.encode(stacked(clips)).to(.float16) }
                )
            }
            try Safetensors.write(
                [Self.key: concatenated(latents)],
                metadata: ["mark": mark],
                to: path
            )
            files.append(try SafetensorsFile(path: path))
            onProgress(
                TrainingProgress(
                    stage: "latents",
                    step: number + 1,
                    of: total,
                    secondsPerStep: (.now - start) / .seconds(1)
                )
            )
        }
        self.files = files
    }

    /// The latents of scene `index`: [C, F, h, w], float32.
    func callAsFunction(_ index: Int) throws(SwanError) -> Tensor {
        try files[index / Self.perFile].tensor(Self.key)
            .selected(0, index % Self.perFile).to(.float32)
    }
}

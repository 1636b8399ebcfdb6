import Foundation
import SwanSystem
import SwanTraining
package import Torch

/// A weighted mix of clips from several kinds of footage.
package struct ClipMix: ClipSource {
    private let makers: [any ClipMaker]
    private let weights: [Double]
    private let cuts: Double
    private let seed: UInt64

    /// Decodes the files of `config` in the folder `root` and keeps them in memory; this takes
    /// seconds.
    ///
    /// Throws `SwanError` if a file does not exist or cannot be read.
    package init(_ config: DataConfig, root: String = ".", seed: UInt64) throws {
        try config.check()
        var parts: [(maker: any ClipMaker, weight: Double)] = []
        if config.procedural > 0 { parts.append((ProceduralScenes(), config.procedural)) }
        let cores = ProcessInfo.processInfo.activeProcessorCount
        if let stills = config.stills, stills.weight > 0 {
            let files = try Self.pictures(stills.files, root)
            let pictures = try concurrentMap(files.count, threads: cores) {
                try Footage.still(files[$0], shortSide: stills.shortSide)
            }
            parts.append((try StillPans(pictures), stills.weight))
        }
        let videos = config.videos.filter { $0.weight > 0 }
        let footage = try concurrentMap(videos.count, threads: cores) { index in
            let video = videos[index]
            return try Footage.video(
                try Self.existing(video.file, root),
                shortSide: video.shortSide,
                skip: video.skip,
                every: video.every,
                maxFrames: video.maxFrames
            )
        }
        for (video, frames) in zip(videos, footage) {
            parts.append((VideoCrops(frames: frames), video.weight))
        }
        makers = parts.map(\.maker)
        weights = parts.map(\.weight)
        cuts = config.cuts
        self.seed = seed
    }

    /// Returns clip number `index` from one of the sources, chosen by weight, with random mirroring
    /// and recoloring; some clips contain a cut to another one.
    package func clip(index: UInt64, frames: Int, height: Int, width: Int) throws -> Tensor {
        let size = ClipSize(frames: frames, height: height, width: width)
        var random = SampleRandom(seed: seed, index: index, purpose: .clip)
        // Not inference mode: its tensors cannot be used in training.
        return try withoutGradients { () throws(SwanError) -> Tensor in
            let clip = try shot(size, &random)
            guard frames > 1, random.chance(cuts) else { return clip }
            let cut = random.integer(1..<frames)
            let next = try shot(size, &random)
            return try concatenated([clip.sliced(0, 0..<cut), next.sliced(0, from: cut)])
        }
    }

    private func shot(_ size: ClipSize, _ random: inout SampleRandom) throws(SwanError) -> Tensor {
        let maker = makers[random.pick(weights: weights)]
        let clip = try maker.clip(size, &random)
        return try Augmentation.apply(clip, &random).contiguous()
    }

    /// Returns a clip from each source in turn (procedural scenes, stills, videos) without
    /// mirroring or recoloring.
    package func example(_ number: Int, frames: Int, height: Int, width: Int) throws -> Tensor {
        let size = ClipSize(frames: frames, height: height, width: width)
        var random = SampleRandom(
            seed: seed,
            index: firstExample + UInt64(number),
            purpose: .clip
        )
        return try withoutGradients { () throws(SwanError) -> Tensor in
            try makers[number % makers.count].clip(size, &random).contiguous()
        }
    }

    /// Returns files, and the images in folders, sorted by name.
    private static func pictures(_ names: [String], _ root: String) throws -> [String] {
        let kinds: Set = ["png", "jpg", "jpeg", "webp", "bmp"]
        var files: [String] = []
        for name in names {
            let path = try existing(name, root)
            var isFolder: ObjCBool = false
            _ = FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
            guard isFolder.boolValue else {
                files.append(path)
                continue
            }
            let found = try FileManager.default.contentsOfDirectory(atPath: path).sorted()
                .filter { kinds.contains(URL(fileURLWithPath: $0).pathExtension.lowercased()) }
            // Error messages contain the names, so reject any that are not plain text.
            if let odd = found.first(where: { $0 != $0.printable(limit: 255) }) {
                throw SwanError(
                    .invalidData,
                    "\(path): contains an image whose name is not plain text: \"\(odd.printable())\""
                )
            }
            files += found.map { path + "/" + $0 }
        }
        guard !files.isEmpty else {
            throw SwanError(
                .noSuchFile,
                "data.stills.files: no images in \(names.joined(separator: ", "))"
            )
        }
        return files
    }

    private static func existing(_ name: String, _ root: String) throws(SwanError) -> String {
        let path = URL(
            fileURLWithPath: name,
            relativeTo: URL(fileURLWithPath: root, isDirectory: true)
        )
        .path
        guard FileManager.default.fileExists(atPath: path) else {
            throw SwanError(
                .noSuchFile,
                "\(path): no such training data; scripts/bootstrap --training-data fetches Swan's own"
            )
        }
        return path
    }
}

import Foundation
package import SwanPipelines
import SwanSystem
import Torch

/// Writes the latents of captioned videos, one file a video: `{caption: [1, F, C, h, w]}`.
package struct LatentEncoding: Sendable {
    /// What became of a video.
    package enum Outcome: Sendable, Equatable {
        /// Its file was there, newer than the video.
        case kept
        case encoded
        /// It has fewer frames than asked for.
        case tooShort
    }

    private let videos: [CaptionedVideos.Video]
    private let folder: String

    /// Creates a run, and the folder.
    package init(_ videos: CaptionedVideos, to folder: String) throws {
        (self.videos, self.folder) = (videos.videos, folder)
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    }

    /// Writes the files that are missing, or older than their videos.
    ///
    /// - Parameters:
    ///   - share: This process's number and the number of processes: video i is that of process
    ///     i mod n.
    ///   - check: Called before each video; what it throws ends the run, and complete files stay.
    ///   - progress: Called after each video.
    package func run(
        _ encoder: ClipEncoder,
        share: (rank: Int, size: Int) = (0, 1),
        check: () throws -> Void,
        progress: (_ video: CaptionedVideos.Video, _ outcome: Outcome) -> Void
    ) throws {
        for index in videos.indices where index % share.size == share.rank {
            try check()
            let video = videos[index]
            let path = "\(folder)/\(String(format: "%08d", index)).pt"
            guard try !isCurrent(path, video, encoder.shape) else {
                progress(video, .kept)
                continue
            }
            guard let latents = try encoder.latents(of: video.path) else {
                progress(video, .tooShort)
                continue
            }
            try TorchArchive.write([video.caption: latents.unsqueezed(0)], to: path)
            progress(video, .encoded)
        }
    }

    /// Whether a file has the latents of a video as it is now.
    private func isCurrent(
        _ path: String,
        _ video: CaptionedVideos.Video,
        _ shape: [Int]
    ) throws -> Bool {
        let manager = FileManager.default
        guard manager.fileExists(atPath: path) else { return false }
        let dates = try [path, video.path].map {
            try manager.attributesOfItem(atPath: $0)[.modificationDate] as? Date ?? .distantPast
        }
        let tensors = try TorchArchive(path: path).tensors()
        return dates[0] >= dates[1] && tensors[video.caption]?.shape == [1] + shape
    }
}

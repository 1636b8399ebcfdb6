import Foundation
import SwanSystem
import SwanTraining

/// The training data: a recipe's `data` section.
///
/// Weights are relative: the probability of a source is proportional to its weight.
package struct DataConfig: Codable, Sendable, Equatable {
    /// The weight of procedural scenes.
    package var procedural: Double
    /// Still images, seen by a moving camera.
    package var stills: Stills?
    /// Videos to cut clips from.
    package var videos: [Video]
    /// The fraction of clips that cut to another one partway through.
    package var cuts: Double

    /// Creates a configuration, by default with procedural scenes only.
    package init(
        procedural: Double = 1,
        stills: Stills? = nil,
        videos: [Video] = [],
        cuts: Double = 0
    ) {
        self.procedural = procedural
        self.stills = stills
        self.videos = videos
        self.cuts = cuts
    }

    /// Still images, with one weight for all of them.
    package struct Stills: Codable, Sendable, Equatable {
        /// Image files, or folders of them, relative to the data root.
        package var files: [String]
        /// The weight of clips from still images.
        package var weight: Double
        /// The shorter side, in pixels, that larger images are scaled down to.
        package var shortSide: Int

        /// Creates a source of images from files or folders.
        package init(files: [String], weight: Double, shortSide: Int = 512) {
            self.files = files
            self.weight = weight
            self.shortSide = shortSide
        }

        private enum CodingKeys: String, CodingKey {
            case files, weight
            case shortSide = "short_side"
        }

        /// Decodes the source from a recipe.
        package init(from decoder: any Decoder) throws {
            let values = try decoder.container(keyedBy: CodingKeys.self)
            files = try values.decode([String].self, forKey: .files)
            weight = try values.decode(Double.self, forKey: .weight)
            shortSide = try values.decodeIfPresent(Int.self, forKey: .shortSide) ?? 512
        }
    }

    /// One video.
    package struct Video: Codable, Sendable, Equatable {
        /// The file, relative to the data root.
        package var file: String
        /// The weight of clips from this video.
        package var weight: Double
        /// The number of frames to skip at the beginning.
        package var skip: Int
        /// Keep one of every `every` frames.
        package var every: Int
        /// The maximum number of frames to keep.
        package var maxFrames: Int
        /// The shorter side, in pixels, that larger videos are scaled down to.
        package var shortSide: Int

        /// Creates a source of clips from a video file.
        package init(
            file: String,
            weight: Double,
            skip: Int = 0,
            every: Int = 1,
            maxFrames: Int = 300,
            shortSide: Int = 272
        ) {
            self.file = file
            self.weight = weight
            self.skip = skip
            self.every = every
            self.maxFrames = maxFrames
            self.shortSide = shortSide
        }

        private enum CodingKeys: String, CodingKey {
            case file, weight, skip, every
            case maxFrames = "max_frames"
            case shortSide = "short_side"
        }

        /// Decodes the source from a recipe; missing keys have their default values.
        package init(from decoder: any Decoder) throws {
            let values = try decoder.container(keyedBy: CodingKeys.self)
            self.init(
                file: try values.decode(String.self, forKey: .file),
                weight: try values.decode(Double.self, forKey: .weight),
                skip: try values.decodeIfPresent(Int.self, forKey: .skip) ?? 0,
                every: try values.decodeIfPresent(Int.self, forKey: .every) ?? 1,
                maxFrames: try values.decodeIfPresent(Int.self, forKey: .maxFrames) ?? 300,
                shortSide: try values.decodeIfPresent(Int.self, forKey: .shortSide) ?? 272
            )
        }
    }

    private enum CodingKeys: String, CodingKey {
        case procedural, stills, videos, cuts
    }

    /// Decodes the configuration from a recipe; a missing source has weight 0.
    package init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        procedural = try values.decodeIfPresent(Double.self, forKey: .procedural) ?? 0
        stills = try values.decodeIfPresent(Stills.self, forKey: .stills)
        videos = try values.decodeIfPresent([Video].self, forKey: .videos) ?? []
        cuts = try values.decodeIfPresent(Double.self, forKey: .cuts) ?? 0
    }

    /// Throws if a value is out of range.
    func check() throws(SwanError) {
        let weights = [procedural] + videos.map(\.weight) + (stills.map { [$0.weight] } ?? [])
        guard weights.allSatisfy({ $0 >= 0 && $0.isFinite }), weights.contains(where: { $0 > 0 })
        else {
            throw SwanError(
                .invalidRecipe,
                "data: the weights are \(weights); none may be negative and one must be above 0"
            )
        }
        guard (0...1).contains(cuts) else {
            throw SwanError(.invalidRecipe, "data.cuts is \(cuts); it must be from 0 to 1")
        }
        try requireBelowRoot(stills?.files ?? [], "data.stills.files")
        try requireBelowRoot(videos.map(\.file), "data.videos")
        for video in videos
        where video.skip < 0 || video.every < 1 || video.maxFrames < 1
            || !(16...4_096).contains(video.shortSide)
        {
            throw SwanError(
                .invalidRecipe,
                "data.videos: \(video.file): every and max_frames must be at least 1, "
                    + "skip at least 0, short_side from 16 to 4096"
            )
        }
        if let stills, !(16...4_096).contains(stills.shortSide) {
            throw SwanError(
                .invalidRecipe,
                "data.stills.short_side is \(stills.shortSide); it must be from 16 to 4096"
            )
        }
    }

    /// Throws if a path could point outside the data root, because recipes may be untrusted.
    /// Symbolic links inside the folder are followed, since they belong to its owner.
    private func requireBelowRoot(_ files: [String], _ key: String) throws(SwanError) {
        for file in files
        where file.hasPrefix("/") || file.split(separator: "/").contains("..")
            || file != file.printable(limit: 4_096)
        {
            throw SwanError(
                .invalidRecipe,
                "\(key): \(file.printable()) is not a path inside the --data folder; it must not begin "
                    + "with '/' or contain '..' or control characters"
            )
        }
    }
}

import Foundation
import SwanSystem
import SwanTraining

/// What a recipe trains on: its `data` section.
///
/// Weights are shares: a clip comes from a source with probability in proportion to its weight.
public struct DataConfig: Codable, Sendable, Equatable {
    /// The share of drawn scenes.
    public var procedural: Double
    /// Pictures that a moving camera looks at.
    public var stills: Stills?
    /// Videos that windows are cut from.
    public var videos: [Video]
    /// The part of clips that are cut to another one in the middle.
    public var cuts: Double

    /// Drawn scenes alone, unless told otherwise.
    public init(
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

    /// Pictures, all of one weight together.
    public struct Stills: Codable, Sendable, Equatable {
        /// Picture files, or folders of them, below the data root.
        public var files: [String]
        /// The share of clips over pictures.
        public var weight: Double
        /// Larger pictures are kept with a shorter side of so many pixels.
        public var shortSide: Int

        /// Pictures in files or folders.
        public init(files: [String], weight: Double, shortSide: Int = 512) {
            self.files = files
            self.weight = weight
            self.shortSide = shortSide
        }

        private enum CodingKeys: String, CodingKey {
            case files, weight
            case shortSide = "short_side"
        }

        /// Reads a recipe's keys.
        public init(from decoder: any Decoder) throws {
            let values = try decoder.container(keyedBy: CodingKeys.self)
            files = try values.decode([String].self, forKey: .files)
            weight = try values.decode(Double.self, forKey: .weight)
            shortSide = try values.decodeIfPresent(Int.self, forKey: .shortSide) ?? 512
        }
    }

    /// One video.
    public struct Video: Codable, Sendable, Equatable {
        /// The file, below the data root.
        public var file: String
        /// The share of clips from it.
        public var weight: Double
        /// Frames at the beginning that are left out.
        public var skip: Int
        /// One frame of so many is kept.
        public var every: Int
        /// So many frames are kept at most.
        public var maxFrames: Int
        /// Larger videos are kept with a shorter side of so many pixels.
        public var shortSide: Int

        /// Frames of a file.
        public init(
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

        /// Reads a recipe's keys; those that are absent have their defaults.
        public init(from decoder: any Decoder) throws {
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

    /// Reads a recipe's keys; a source that is absent has no share.
    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        procedural = try values.decodeIfPresent(Double.self, forKey: .procedural) ?? 0
        stills = try values.decodeIfPresent(Stills.self, forKey: .stills)
        videos = try values.decodeIfPresent([Video].self, forKey: .videos) ?? []
        cuts = try values.decodeIfPresent(Double.self, forKey: .cuts) ?? 0
    }

    /// Throws where a number cannot be meant.
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
            throw SwanError(.invalidRecipe, "data.cuts is \(cuts); it is a part, 0 to 1")
        }
        try requireBelowRoot(stills?.files ?? [], "data.stills.files")
        try requireBelowRoot(videos.map(\.file), "data.videos")
        for video in videos
        where video.skip < 0 || video.every < 1 || video.maxFrames < 1
            || !(16...4_096).contains(video.shortSide)
        {
            throw SwanError(
                .invalidRecipe,
                "data.videos: \(video.file): every and max_frames count from 1, skip from 0, short_side is "
                    + "16 to 4096"
            )
        }
        if let stills, !(16...4_096).contains(stills.shortSide) {
            throw SwanError(
                .invalidRecipe,
                "data.stills.short_side is \(stills.shortSide); it is 16 to 4096"
            )
        }
    }

    /// Throws where a name could lead out of the data root: recipes come from strangers. Links that lie
    /// in that folder are followed, as they are its owner's.
    private func requireBelowRoot(_ files: [String], _ key: String) throws(SwanError) {
        for file in files
        where file.hasPrefix("/") || file.split(separator: "/").contains("..")
            || file != file.printable(limit: 4_096)
        {
            throw SwanError(
                .invalidRecipe,
                "\(key): \(file.printable()) is not a path below the folder of --data; it may neither "
                    + "begin with '/' nor have '..' or control characters in it"
            )
        }
    }
}

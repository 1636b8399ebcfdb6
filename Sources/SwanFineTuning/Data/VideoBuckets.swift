import Foundation
import SwanMedia
import SwanSystem

/// A choice of a bucket for each video.
struct VideoBuckets: Sendable {
    let buckets: [FineTuningSettings.Bucket]

    /// Throws if a size does not divide into the model's patches.
    init(_ buckets: [FineTuningSettings.Bucket], multiple: Int) throws(SwanError) {
        for bucket in buckets
        where !bucket.width.isMultiple(of: multiple) || !bucket.height.isMultiple(of: multiple) {
            throw SwanError(
                .invalidRecipe,
                "buckets: \(bucket): this model's width and height are multiples of \(multiple)"
            )
        }
        self.buckets = buckets
    }

    /// The bucket for a video: of those that it is long enough for, the nearest in aspect ratio,
    /// then the longest, then the largest; nil if it is too short for all.
    func bucket(width: Int, height: Int, frames: Int) -> FineTuningSettings.Bucket? {
        let own = log(Double(width) / Double(height))
        func distance(_ bucket: FineTuningSettings.Bucket) -> Double {
            abs(log(Double(bucket.width) / Double(bucket.height)) - own)
        }
        return buckets.filter { $0.frames <= frames }.min { one, other in
            let (a, b) = (distance(one), distance(other))
            guard abs(a - b) < 1e-9 else { return a < b }
            guard one.frames == other.frames else { return one.frames > other.frames }
            return one.width * one.height > other.width * other.height
        }
    }

    /// The bucket for a video file at a frame rate; nil if it is too short for all.
    func bucket(of path: String, framesPerSecond: Int) throws -> FineTuningSettings.Bucket? {
        let rate = Rational(framesPerSecond)
        let info = try VideoReader(path: path, options: .init(frameRate: rate)).info
        guard let frames = info.estimatedFrames else {
            throw SwanError(.invalidData, "\(path): its length is not known; convert it to MP4")
        }
        return bucket(width: info.width, height: info.height, frames: frames)
    }
}

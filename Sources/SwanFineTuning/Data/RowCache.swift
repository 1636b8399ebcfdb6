import Foundation
import SwanDatasets
import SwanSystem
import SwanTraining
import Torch

/// Encoded rows on disk: a file for each video and bucket, which is written again if the video, its
/// caption or the model has changed.
struct RowCache: Sendable {
    private let folder: String
    /// What tells the model from others.
    private let digest: String

    init(_ folder: String, digest: String) throws {
        (self.folder, self.digest) = (folder, digest)
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    }

    /// The file of a video in a bucket.
    func path(
        _ video: CaptionedVideos.Video,
        _ bucket: FineTuningSettings.Bucket
    ) -> String {
        let name = Seed.named("\(digest)|\(bucket)|\(URL(fileURLWithPath: video.path).path)")
        return "\(folder)/\(String(name, radix: 16)).safetensors"
    }

    /// Whether the file has a video as it is now.
    func isCurrent(
        _ video: CaptionedVideos.Video,
        _ bucket: FineTuningSettings.Bucket
    ) throws -> Bool {
        let path = path(video, bucket)
        guard FileManager.default.fileExists(atPath: path) else { return false }
        let found = try SafetensorsFile(path: path).metadata
        return try facts(video, bucket).allSatisfy { found[$0.key] == $0.value }
    }

    /// What must be the same for a file to be used.
    private func facts(
        _ video: CaptionedVideos.Video,
        _ bucket: FineTuningSettings.Bucket
    ) throws -> [String: String] {
        let file = try FileManager.default.attributesOfItem(atPath: video.path)
        let date = (file[.modificationDate] as? Date)?.timeIntervalSince1970 ?? 0
        return [
            "video": URL(fileURLWithPath: video.path).path, "caption": video.caption,
            "bucket": "\(bucket)", "model": digest, "bytes": "\(file[.size] ?? 0)",
            "modified": String(date),
        ]
    }

    func write(
        _ row: TuningRow,
        _ video: CaptionedVideos.Video,
        _ bucket: FineTuningSettings.Bucket
    ) throws {
        var tensors = ["latents": row.latents, "text": row.text]
        tensors["pictures"] = row.pictures
        tensors["features"] = row.features
        for (name, tensor) in tensors.sorted(by: { $0.key < $1.key })
        where try !tensor.isAllFinite() {
            throw SwanError(.invalidData, "\(video.path): its \(name) are not finite")
        }
        try SummedFile.write(
            tensors,
            metadata: facts(video, bucket),
            to: path(video, bucket)
        )
    }

    static func row(_ path: String) throws -> TuningRow {
        let file = try SafetensorsFile(path: path)
        let keys = Set(file.keys)
        func tensor(_ key: String) throws -> Tensor? {
            keys.contains(key) ? try file.tensor(key).cloned() : nil
        }
        guard let latents = try tensor("latents"), let text = try tensor("text") else {
            throw SwanError(
                .invalidFile,
                "\(path): is not a row of a cache; remove it, and it is made again"
            )
        }
        var row = TuningRow(latents: latents, text: text)
        (row.pictures, row.features) = (try tensor("pictures"), try tensor("features"))
        return row
    }
}

import Foundation
import SwanCheckpoints
import SwanDatasets
import SwanDistillation
import SwanModels
import SwanSystem
import SwanTraining
import Torch

/// The data of a fine-tuning: rows of captioned videos, from a cache, and rows of latents.
struct TuningData: TuningRows {
    /// Where a row is.
    private enum Place: Sendable {
        case cached(String)
        case latents(any LatentRows, Int, text: Tensor)
    }

    let groups: [[Int]]
    /// The rows that are not trained on.
    let heldOut: [Int]
    /// The embeddings of no text [T, textDim].
    let noText: Tensor
    private let places: [Place]

    /// A row before the groups are made.
    private struct Listed {
        let place: Place
        /// The shape of the latents, or the bucket.
        let group: String
        let repeats: Int
    }

    /// Encodes what is not in the cache yet.
    ///
    /// - Parameters:
    ///   - root: The folder that paths are relative to.
    ///   - ranks: The processes that share the work.
    ///   - check: Called before each video; what it throws ends the work, and complete rows stay.
    ///   - note: Told of each video that is encoded or left out.
    init(
        _ settings: FineTuningSettings,
        _ model: TunedModel,
        root: String,
        cache: String,
        device: Device,
        ranks: TrainingRanks?,
        check: () throws -> Void,
        note: (String) -> Void
    ) throws {
        let encoder = RowEncoder(model, device)
        var listed: [Listed] = []
        for source in settings.data {
            let path = FineTuning.path(source.path, root)
            if path.hasSuffix(".safetensors") || Self.isDatabase(path) {
                listed += try Self.latents(path, source, model, encoder)
            } else {
                let work = CacheWork(
                    cache: try RowCache(
                        cache,
                        digest: ModelDigest.text(of: model.folder.path)
                    ),
                    encoder: encoder,
                    model: model,
                    buckets: try Self.buckets(settings, model)
                )
                let rows = try work.rows(path, ranks, check: check, note: note)
                listed += rows.map {
                    Listed(place: .cached($0.path), group: $0.bucket, repeats: source.repeats)
                }
            }
        }
        guard listed.count > settings.heldOut else {
            throw SwanError(
                .invalidRecipe,
                "data: \(listed.count) rows; held_out_rows: \(settings.heldOut) leave none to "
                    + "train on"
            )
        }
        places = listed.map(\.place)
        let trained = listed.count - settings.heldOut
        heldOut = Array(trained..<listed.count)
        let named = Dictionary(grouping: 0..<trained) { listed[$0].group }
        groups = named.sorted { $0.key < $1.key }.map { _, rows in
            rows.flatMap { Array(repeating: $0, count: listed[$0].repeats) }
        }
        noText = try encoder.text("")
    }

    func row(_ index: Int) throws -> TuningRow {
        switch places[index] {
        case .cached(let path): return try RowCache.row(path)
        case .latents(let rows, let number, let text):
            let states = try rows.row(number).latents
            let clean = try states.selected(0, states.size(0) - 1)  // [F, C, H, W]
            return TuningRow(latents: try clean.permuted(1, 0, 2, 3).contiguous(), text: text)
        }
    }

    private static func isDatabase(_ path: String) -> Bool {
        FileManager.default.fileExists(atPath: path + "/data.mdb")
    }

    private static func buckets(
        _ settings: FineTuningSettings,
        _ model: TunedModel
    ) throws(SwanError) -> VideoBuckets {
        guard !settings.buckets.isEmpty else {
            throw SwanError(
                .invalidRecipe,
                "buckets: missing: name at least one size for the videos, such as 832x480x81"
            )
        }
        return try VideoBuckets(settings.buckets, multiple: model.sizeMultiple)
    }

    /// The rows of a database or a file of latents.
    private static func latents(
        _ path: String,
        _ source: FineTuningSettings.Source,
        _ model: TunedModel,
        _ encoder: RowEncoder
    ) throws -> [Listed] {
        guard !model.task.needsPictures else {
            throw SwanError(
                .invalidRecipe,
                "data: \(path): has latents alone, but the model also takes pictures of the "
                    + "videos; give the videos"
            )
        }
        guard case .rows(let rows) = try DistillationData(path: path, isPrompts: false) else {
            throw SwanError(.invalidData, "\(path): has no latents")
        }
        guard rows.shape[2] == model.config.outDim else {
            throw SwanError(
                .invalidData,
                "\(path): latents have \(rows.shape[2]) channels, the model has "
                    + "\(model.config.outDim)"
            )
        }
        let group = rows.shape.dropFirst().map(String.init).joined(separator: "x")
        return try (0..<rows.count).map { index in
            Listed(
                place: .latents(rows, index, text: try encoder.text(rows.row(index).prompt)),
                group: group,
                repeats: source.repeats
            )
        }
    }
}

/// Puts the rows of videos into a cache.
private struct CacheWork {
    let cache: RowCache
    let encoder: RowEncoder
    let model: TunedModel
    let buckets: VideoBuckets

    /// The rows of a source, in the order of its videos; short videos are left out.
    func rows(
        _ path: String,
        _ ranks: TrainingRanks?,
        check: () throws -> Void,
        note: (String) -> Void
    ) throws -> [(path: String, bucket: String)] {
        let videos = try CaptionedVideos(path).videos
        // The first rank encodes; the others wait, and then find everything in the cache.
        func listed() throws -> [(path: String, bucket: String)] {
            var rows: [(String, String)] = []
            for video in videos {
                let bucket = try buckets.bucket(
                    of: video.path,
                    framesPerSecond: model.framesPerSecond
                )
                guard let bucket, try isThere(video, bucket, check: check, note: note) else {
                    note("\(video.path): is too short for every bucket and was left out")
                    continue
                }
                rows.append((cache.path(video, bucket), "\(bucket)"))
            }
            return rows
        }
        return try ranks?.inTurn(listed) ?? listed()
    }

    /// Encodes a video unless its row is there; false if it has too few frames.
    private func isThere(
        _ video: CaptionedVideos.Video,
        _ bucket: FineTuningSettings.Bucket,
        check: () throws -> Void,
        note: (String) -> Void
    ) throws -> Bool {
        guard try !cache.isCurrent(video, bucket) else { return true }
        try check()
        guard let row = try encoder.row(video, bucket) else { return false }
        try cache.write(row, video, bucket)
        note("\(video.path): encoded as \(bucket)")
        return true
    }
}

import Foundation
import GRDB

/// A job and its state, as stored in the database.
struct VideoJob: Codable, Sendable, Equatable {
    /// The states of a job.
    enum Status: String, Codable, Sendable, CaseIterable {
        case queued
        case running = "in_progress"
        case completed, failed

        var isFinal: Bool { self == .completed || self == .failed }
    }

    /// The order of creation; nil until the job is stored.
    var number: Int64?
    let id: String
    var status = Status.queued
    let request: JobRequest
    /// Seconds since 1970.
    let createdAt: Int
    var completedAt, expiresAt: Int?
    var failure: JobFailure?
    var remixedFrom: String?
    /// The header that identifies repeated requests, and what the request was.
    var idempotencyKey: String?
    var requestDigest: String
    /// How often the job was started.
    var attempts = 0
    /// The properties of the video, as far as they are known.
    var size: JobRequest.Size?
    var frames: Int?
    var frameRate: Double?
    /// What was wrong with the prompts of a completed job; nil for nothing.
    var issues: [String]?

    init(id: String = VideoJob.makeID(), request: JobRequest, digest: String, now: Date = Date()) {
        self.id = id
        self.request = request
        requestDigest = digest
        createdAt = Int(now.timeIntervalSince1970)
        size = request.size
        frameRate = request.frameRate
    }

    /// A name that cannot be guessed.
    static func makeID() -> String {
        let digits = (0..<2).map { _ in
            let text = String(UInt64.random(in: 0...UInt64.max), radix: 16)
            return String(repeating: "0", count: 16 - text.count) + text
        }
        return "video_" + digits.joined()
    }

    func isExpired(at now: Date) -> Bool {
        expiresAt.map { Double($0) <= now.timeIntervalSince1970 } ?? false
    }
}

extension VideoJob: FetchableRecord, MutablePersistableRecord {
    static let databaseTableName = "job"

    mutating func didInsert(_ inserted: InsertionSuccess) { number = inserted.rowID }
}

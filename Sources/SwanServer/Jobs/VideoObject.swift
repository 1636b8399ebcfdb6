/// A video in the API: the object of OpenAI's videos API, and a few fields more.
struct VideoObject: Encodable {
    private let snapshot: JobQueue.Snapshot

    init(_ snapshot: JobQueue.Snapshot) { self.snapshot = snapshot }

    private enum Key: String, CodingKey {
        case id, object, model, status, progress, createdAt = "created_at"
        case completedAt = "completed_at", expiresAt = "expires_at", prompt, size, seconds
        case remixedFrom = "remixed_from_video_id", error, kind, frames, fps, issues
    }

    private struct Problem: Encodable {
        let code, message: String
    }

    func encode(to encoder: any Encoder) throws {
        let job = snapshot.job
        var object = encoder.container(keyedBy: Key.self)
        try object.encode(job.id, forKey: .id)
        try object.encode("video", forKey: .object)
        try object.encode(job.request.model, forKey: .model)
        try object.encode(job.status.rawValue, forKey: .status)
        try object.encode(snapshot.progress, forKey: .progress)
        try object.encode(job.createdAt, forKey: .createdAt)
        // These are present even if they are not known, as in the original.
        try object.encode(job.completedAt, forKey: .completedAt)
        try object.encode(job.expiresAt, forKey: .expiresAt)
        try object.encode(job.request.prompt, forKey: .prompt)
        try object.encode(job.size?.text, forKey: .size)
        try object.encode(Self.seconds(job), forKey: .seconds)
        try object.encode(job.remixedFrom, forKey: .remixedFrom)
        let problem = job.failure.map { Problem(code: $0.code.rawValue, message: $0.message) }
        try object.encode(problem, forKey: .error)
        try object.encode(job.request.kind, forKey: .kind)
        try object.encode(job.frames, forKey: .frames)
        try object.encode(job.frameRate, forKey: .fps)
        try object.encode(job.issues ?? [], forKey: .issues)
    }

    /// The length of the video as a text: what was made, or else what was asked for.
    private static func seconds(_ job: VideoJob) -> String? {
        var seconds = job.request.seconds
        if let frames = job.frames, let rate = job.frameRate, rate > 0 {
            seconds = Double(frames) / rate
        }
        guard let seconds else { return nil }
        let rounded = (seconds * 100).rounded() / 100
        return rounded == rounded.rounded() ? "\(Int(rounded))" : "\(rounded)"
    }
}

/// What is left of a video that was deleted.
struct DeletedVideo: Encodable {
    static let name = "video.deleted"

    let id: String
    let object = Self.name
    let deleted = true
}

/// A part of the list of videos.
struct VideoList: Encodable {
    let object = "list"
    let data: [VideoObject]
    let firstID, lastID: String?
    let hasMore: Bool

    /// - Parameters:
    ///   - all: All jobs, the oldest first.
    ///   - after: The id of the job before the first one of this part.
    init(
        _ all: [JobQueue.Snapshot],
        after: String?,
        limit: Int,
        isAscending: Bool
    ) {
        var jobs = (isAscending ? all : all.reversed())[...]
        if let after, let index = jobs.firstIndex(where: { $0.job.id == after }) {
            jobs = jobs[jobs.index(after: index)...]
        }
        let shown = jobs.prefix(limit)
        data = shown.map { VideoObject($0) }
        firstID = shown.first?.job.id
        lastID = shown.last?.job.id
        hasMore = shown.count < jobs.count
    }

    private enum Key: String, CodingKey {
        case object, data, firstID = "first_id", lastID = "last_id", hasMore = "has_more"
    }

    func encode(to encoder: any Encoder) throws {
        var list = encoder.container(keyedBy: Key.self)
        try list.encode(object, forKey: .object)
        try list.encode(data, forKey: .data)
        try list.encode(firstID, forKey: .firstID)
        try list.encode(lastID, forKey: .lastID)
        try list.encode(hasMore, forKey: .hasMore)
    }
}

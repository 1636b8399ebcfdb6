import Foundation
import HTTPTypes
import Hummingbird
import NIOCore
import SwanHTTP
import SwanSystem

/// The routes of `/v1/videos`.
struct VideoRoutes: Sendable {
    let service: VideoService

    private typealias Context = BasicRequestContext
    /// How long a client should wait before it asks again, in milliseconds.
    private static let pollInterval = 500

    func add(to router: Router<BasicRequestContext>) {
        router.post("/v1/videos") { request, _ in try await create(request) }
        router.get("/v1/videos") { request, _ in try list(request) }
        router.get("/v1/videos/:id") { _, context in Self.response(try video(context)) }
        router.delete("/v1/videos/:id") { _, context in try await delete(context) }
        router.get("/v1/videos/:id/content") { request, context in
            try await content(request, context)
        }
        router.get("/v1/videos/:id/events") { request, context in
            let changes = service.queue.changes(of: try video(context).job.id)
            return VideoEvents.response(changes, to: request)
        }
        router.post("/v1/videos/:id/remix") { request, context in
            try await remix(request, context)
        }
    }

    private func video(_ context: BasicRequestContext) throws -> JobQueue.Snapshot {
        guard let id = context.parameters.get("id"), let video = service.queue.job(id) else {
            throw APIError.noSuchVideo
        }
        return video
    }

    // MARK: - Making videos

    private func create(_ request: Request) async throws -> Response {
        let key = try Self.idempotencyKey(request)
        // The place is taken later: a client may take a minute for its upload, or never finish it.
        guard service.queue.hasPlace(key) else { throw queueFull }
        let submission = try await JobSubmission(
            request,
            service.limits,
            arriving: service.arriving,
            folder: service.queue.store.uploads
        )
        let place = try place(key)
        let video = try await service.blocking(inspects: true) { [service] in
            try service.create(submission, place, idempotencyKey: key)
        }
        return Self.response(video)
    }

    private struct Remix: Decodable {
        private enum CodingKeys: String, CodingKey, CaseIterable { case prompt }

        let prompt: String

        init(from decoder: any Decoder) throws {
            try decoder.requireKnownParameters(CodingKeys.self)
            prompt = try decoder.container(keyedBy: CodingKeys.self)
                .decode(String.self, forKey: .prompt)
        }
    }

    private func remix(
        _ request: Request,
        _ context: BasicRequestContext
    ) async throws -> Response {
        let id = try video(context).job.id
        guard request.headers[.contentType]?.lowercased().hasPrefix("application/json") ?? false
        else { throw APIError.contentType("application/json") }
        let key = try Self.idempotencyKey(request)
        let body = try await request.body.collected(upTo: service.limits.remixBytes)
        let place = try place(key)
        let remix: Remix
        do {
            remix = try JSONDecoder().decode(Remix.self, from: Data(body.readableBytesView))
        } catch let error as DecodingError {
            throw APIError(error)
        }
        let video = try await service.blocking { [service] in
            try service.remix(id, prompt: remix.prompt, place, idempotencyKey: key)
        }
        return Self.response(video)
    }

    private func place(_ key: String?) throws -> JobQueue.Place {
        guard let place = service.queue.reserve(key) else { throw queueFull }
        return place
    }

    private var queueFull: APIError {
        APIError(
            .tooManyRequests,
            "queue_full",
            "The queue is full (\(service.limits.queued)); try again later.",
            headers: [.retryAfter: "10"]
        )
    }

    private static func idempotencyKey(_ request: Request) throws -> String? {
        guard let name = HTTPField.Name("Idempotency-Key"), let key = request.headers[name] else {
            return nil
        }
        guard (1...255).contains(key.utf8.count) else {
            throw APIError.invalid("Idempotency-Key", "must have 1 to 255 characters")
        }
        return key
    }

    // MARK: - Looking at them

    private func list(_ request: Request) throws -> Response {
        let query = request.uri.queryParameters
        let order = query.get("order") ?? "desc"
        guard ["asc", "desc"].contains(order) else {
            throw APIError.invalid("order", "must be asc or desc")
        }
        let limit = query.get("limit").map { Int($0) } ?? 20
        guard let limit, (1...100).contains(limit) else {
            throw APIError.invalid("limit", "must be 1 to 100")
        }
        let all = service.queue.all
        let after = query.get("after")
        if let after, !all.contains(where: { $0.job.id == after }) {
            throw APIError.invalid("after", "is no video of this server")
        }
        let list = VideoList(all, after: after, limit: limit, isAscending: order == "asc")
        return JSONResponse.make(list)
    }

    private func delete(_ context: BasicRequestContext) async throws -> Response {
        let id = try video(context).job.id
        let isDeleted = try await service.blocking { [service] in try service.queue.delete(id) }
        guard isDeleted else { throw APIError.noSuchVideo }
        return JSONResponse.make(DeletedVideo(id: id))
    }

    private func content(
        _ request: Request,
        _ context: BasicRequestContext
    ) async throws -> Response {
        let job = try video(context).job
        let name = request.uri.queryParameters.get("variant") ?? "video"
        guard let variant = JobStore.Variant(rawValue: name) else {
            throw APIError.invalid("variant", "must be video, thumbnail or spritesheet")
        }
        guard job.status == .completed else {
            let isFailed = job.status == .failed
            throw APIError(
                .conflict,
                isFailed ? "video_failed" : "video_not_ready",
                isFailed ? "There is no video: the job failed." : "The video is not finished yet."
            )
        }
        let path = service.queue.store.path(job, variant)
        return try await FileResponse.make(path, type: variant.contentType, request, context)
    }

    private static func response(_ video: JobQueue.Snapshot) -> Response {
        var response = JSONResponse.make(VideoObject(video))
        if !video.job.status.isFinal, let name = HTTPField.Name("openai-poll-after-ms") {
            response.headers[name] = "\(pollInterval)"
        }
        return response
    }
}

extension APIError {
    /// A body of a type that is not accepted.
    static func contentType(_ accepted: String) -> APIError {
        APIError(
            .unsupportedMediaType,
            "unsupported_content_type",
            "Send the body as \(accepted).",
            parameter: "Content-Type"
        )
    }

    /// A video that does not exist, or no longer.
    static let noSuchVideo = APIError(
        .notFound,
        "no_such_video",
        "There is no such video; it may have expired or been deleted."
    )
}

import Foundation
import GoldenSupport
import HubSupport
import SwanHub
import SwanStore
import SwanSystem
import Synchronization

/// A store in a temporary folder, and pulls into it from a hub on loopback.
final class Pulling: Sendable {
    let folder: TemporaryDirectory
    let store: ModelStore
    let hub: FakeHub
    private let events = Mutex<[PullEvent]>([])

    init(_ hub: FakeHub) throws {
        folder = try TemporaryDirectory()
        store = ModelStore(root: folder.path("store"))
        self.hub = hub
    }

    /// Short waits, so that tests of failures end soon. Silence is that of a busy machine at most.
    private static var timing: HubTiming {
        var timing = HubTiming()
        timing.firstWait = .milliseconds(5)
        timing.silence = .seconds(60)
        return timing
    }

    /// Settings that depend on nothing of this machine.
    func environment(_ more: [String: String] = [:]) throws -> HubEnvironment {
        let own = ["HF_ENDPOINT": hub.endpoint, "HOME": folder.path("home")]
        return try HubEnvironment(own.merging(more) { $1 }, timing: Self.timing)
    }

    func pull(
        _ source: String,
        _ more: [String: String] = [:],
        change: (inout ModelPull.Options) -> Void = { _ in }
    ) throws -> ModelPull {
        let environment = try environment(more)
        var options = ModelPull.Options(try PullSource(source, endpoint: environment.endpoint))
        change(&options)
        return ModelPull(options, environment: environment, store: store, userAgent: "test") {
            [self] event in events.withLock { $0.append(event) }
        }
    }

    /// Pulls a model.
    @discardableResult
    func run(
        _ source: String,
        _ more: [String: String] = [:],
        change: (inout ModelPull.Options) -> Void = { _ in }
    ) async throws -> StoredModel {
        try await pull(source, more, change: change).run()
    }

    /// The error of a pull; nil if it succeeds.
    func failure(_ source: String, _ more: [String: String] = [:]) async -> SwanError? {
        do {
            try await run(source, more)
            return nil
        } catch {
            return error as? SwanError ?? SwanError(.libraryFailed, "not a SwanError: \(error)")
        }
    }

    /// The notes so far.
    var notes: [String] {
        events.withLock { $0 }.compactMap { if case .note(let text) = $0 { text } else { nil } }
    }

    /// The last progress.
    var progress: PullProgress? {
        events.withLock { $0 }.compactMap { event -> PullProgress? in
            if case .progress(let progress) = event { progress } else { nil }
        }.last
    }

    /// The content of a file of a model.
    func content(_ model: StoredModel, _ path: String) throws -> [UInt8] {
        Array(try Data(contentsOf: URL(fileURLWithPath: model.folder + "/" + path)))
    }

    /// All files below a folder, without those of unfinished pulls' state.
    func files(below path: String) -> [String] {
        (FileManager.default.enumerator(atPath: path)?.compactMap { $0 as? String } ?? []).sorted()
    }
}

/// Bytes that differ for each seed.
func bytes(_ count: Int, seed: Int = 1) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: ($0 &* 31 &+ seed) ^ ($0 >> 8)) }
}

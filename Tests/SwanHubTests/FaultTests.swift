import Foundation
import GoldenSupport
import HubSupport
import SwanHub
import SwanStore
import SwanSystem
import Synchronization
import Testing

/// Pulls from a hub, a network or a disk with faults.
@Suite struct FaultTests {
    private static let large = bytes(200_000)
    private static let repository = FakeHub.Repository(
        "owner/name",
        ["config.json": bytes(20), "model.safetensors": large]
    )

    private static func pulling(_ change: FakeHub.Change? = nil) async throws -> Pulling {
        try Pulling(await FakeHub(repository, change: change))
    }

    private static func isLarge(_ request: LoopbackServer.Request) -> Bool {
        request.path.hasPrefix("/cdn/")
    }

    // MARK: - Connections

    /// Each connection brings a part and is cut; the next one asks for the rest.
    @Test func goesOnAfterCuts() async throws {
        let pulling = try await Self.pulling { request, answer in
            guard Self.isLarge(request), answer.body.count > 30_000 else { return nil }
            var answer = answer
            answer.sent = 30_000
            return answer
        }
        let model = try await pulling.run("owner/name")
        #expect(try pulling.content(model, "model.safetensors") == Self.large)
        let ranges = pulling.hub.downloads.filter(Self.isLarge).map { $0.headers["range"] }
        #expect(ranges.count == 7)
        #expect(ranges.first == .some(nil))
        #expect(ranges.dropFirst().allSatisfy { $0?.hasPrefix("bytes=") == true })
    }

    /// A pull that gives up keeps what arrived, and the next one asks for the rest.
    @Test func goesOnInTheNextPull() async throws {
        let pulling = try await Self.pulling { request, answer in
            guard Self.isLarge(request) else { return nil }
            guard request.headers["range"] == nil else { return .init(503) }
            var answer = answer
            answer.sent = 50_000
            return answer
        }
        let error = await pulling.failure("owner/name")
        #expect(error?.code == .io)
        #expect(error?.message.contains("goes on from what has arrived") == true)
        #expect(try pulling.store.model(named: "owner/name") == nil)
        #expect(pulling.store.unfinished() == ["owner/name"])
        #expect(!FileIdentity.isTaken(pulling.store.folder(of: "owner/name")))
        pulling.hub.change(nil)
        pulling.hub.server.forget()
        let model = try await pulling.run("owner/name")
        #expect(try pulling.content(model, "model.safetensors") == Self.large)
        // How much of what was sent has arrived depends on the network.
        let range = pulling.hub.downloads.last?.headers["range"]
        #expect(range?.hasPrefix("bytes=") == true && range != "bytes=0-")
        // The small file was complete.
        #expect(!pulling.hub.downloads.contains { $0.path.contains("config") })
    }

    /// Silence counts as a lost connection.
    @Test func goesOnAfterSilence() async throws {
        let isFirst = Mutex(true)
        let pulling = try await Self.pulling { request, answer in
            guard Self.isLarge(request),
                isFirst.withLock({ first in
                    defer { first = false }
                    return first
                })
            else { return nil }
            var answer = answer
            (answer.sent, answer.end) = (10_000, .silence)
            return answer
        }
        let model = try await pulling.run("owner/name", ["HF_HUB_DOWNLOAD_TIMEOUT": "1"])
        #expect(try pulling.content(model, "model.safetensors") == Self.large)
        #expect(pulling.notes.contains { $0.contains("nothing arrived for too long") })
    }

    /// Servers that ignore ranges, or have another part than asked, or less than before.
    @Test(arguments: ["whole", "other part", "416"])
    func startsAnew(_ kind: String) async throws {
        let pulling = try await Self.pulling { request, answer in
            guard Self.isLarge(request) else { return nil }
            guard request.headers["range"] != nil else {
                var answer = answer
                let isFirst = request.headers["x"] == nil
                answer.sent =
                    isFirst && Self.cuts.withLock({ $0.insert(kind).inserted }) ? 9_000 : nil
                return answer
            }
            switch kind {
            case "whole": return .init(200, body: Self.large)
            case "416": return .init(416)
            default:
                return .init(
                    206,
                    headers: [("Content-Range", "bytes 0-199999/200000")],
                    body: Self.large
                )
            }
        }
        let model = try await pulling.run("owner/name")
        #expect(try pulling.content(model, "model.safetensors") == Self.large)
        #expect(pulling.progress?.bytes == 200_020)
    }

    private static let cuts = Mutex<Set<String>>([])

    @Test func noConnection() async throws {
        let pulling = try await Self.pulling()
        try await pulling.hub.server.stop()
        let error = await pulling.failure("owner/name")
        #expect(error?.code == .io)
        #expect(error?.message.contains("Connection refused") == true, "\(error?.message ?? "")")
        let unknown = await pulling.failure("owner/name", ["HF_ENDPOINT": "http://no-host.invalid"])
        #expect(
            unknown?.message.contains("its host is not known") == true,
            "\(unknown?.message ?? "")"
        )
    }

    /// Stopping keeps what has arrived.
    @Test func stops() async throws {
        let pulling = try await Self.pulling { request, answer in
            guard Self.isLarge(request) else { return nil }
            var answer = answer
            (answer.sent, answer.end) = (60_000, .silence)
            return answer
        }
        let pull = try pulling.pull("owner/name", ["HF_HUB_DOWNLOAD_TIMEOUT": "600"])
        let task = Task { try await pull.run() }
        while pulling.progress.map({ $0.bytes < 60_000 }) ?? true {
            try await Task.sleep(for: .milliseconds(5))
        }
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
        pulling.hub.change(nil)
        try await pulling.run("owner/name")
        #expect(pulling.hub.downloads.last?.headers["range"] == "bytes=60000-")
    }

    // MARK: - Answers

    /// A server that is busy is asked again when it says.
    @Test(arguments: [429, 503, 500, 408])
    func waitsAndTriesAgain(_ status: Int) async throws {
        let count = Mutex(0)
        let pulling = try await Self.pulling { _, _ in
            let isBusy = count.withLock { count in
                count += 1
                return count % 3 == 1
            }
            return isBusy ? .init(status, headers: [("Retry-After", "0")]) : nil
        }
        try await pulling.run("owner/name")
        #expect(pulling.notes.contains { $0.contains("HTTP status \(status)") })
    }

    /// An address that the hub redirects to is valid for a while only; the hub gives another one.
    @Test func asksForAnotherAddress() async throws {
        let count = Mutex(0)
        let pulling = try await Self.pulling { request, _ in
            guard Self.isLarge(request) else { return nil }
            let number = count.withLock { count in
                count += 1
                return count
            }
            return number < 3 ? .init(403) : nil
        }
        try await pulling.run("owner/name")
        #expect(count.withLock { $0 } == 3)
        _ = try pulling.store.remove("owner/name")
        pulling.hub.change { request, _ in Self.isLarge(request) ? .init(404) : nil }
        let error = await pulling.failure("owner/name:model.safetensors")
        #expect(error?.code == .noSuchFile)
        #expect(error?.message.contains("signature") == false)
    }

    @Test func doesNotWaitForHours() async throws {
        let pulling = try await Self.pulling { _, _ in
            .init(429, headers: [("Retry-After", "7200")])
        }
        let error = await pulling.failure("owner/name")
        #expect(error?.message.contains("try again in 7200 s") == true)
        #expect(pulling.hub.server.requests.count == 1)
    }

    @Test(arguments: [
        (401, "RepoNotFound", nil, SwanError.Code.noSuchModel, "no such repository"),
        (401, "RepoNotFound", "hf_x", .noSuchModel, "your token does not give access"),
        (403, "GatedRepo", nil, .unreadable, "accept them at"),
        (401, "GatedRepo", nil, .unreadable, "HF_TOKEN"),
        (404, "RevisionNotFound", nil, .noSuchModel, "has no revision 'main'"),
        (403, "", "hf_x", .unreadable, "access is denied"),
        (418, "", nil, .io, "HTTP status 418"),
    ])
    func saysWhatIsWrong(
        _ status: Int,
        _ code: String,
        _ token: String?,
        _ kind: SwanError.Code,
        _ words: String
    ) async throws {
        let pulling = try await Self.pulling { _, _ in
            .init(status, headers: [("X-Error-Code", code)])
        }
        let error = await pulling.failure("owner/name", token.map { ["HF_TOKEN": $0] } ?? [:])
        #expect(error?.code == kind)
        #expect(error?.message.contains(words) == true, "\(error?.message ?? "")")
        #expect(pulling.hub.server.requests.count == 1)
    }

    @Test func answersThatAreNoHubs() async throws {
        let pulling = try await Self.pulling { _, _ in .init(text: "<html>Welcome</html>") }
        let error = await pulling.failure("owner/name")
        #expect(error?.message.contains("is HF_ENDPOINT right?") == true)
        pulling.hub.change { request, _ in
            .init(302, headers: [("Location", request.target)])
        }
        let loop = await pulling.failure("owner/name")
        #expect(loop?.message.contains("redirected without end") == true)
        pulling.hub.change { _, _ in .init(302, headers: [("Location", "file:///etc/passwd")]) }
        let file = await pulling.failure("owner/name")
        #expect(file?.message.contains("which is no address") == true)
        pulling.hub.change { request, answer in
            guard request.path.contains("/tree/") else { return nil }
            var answer = answer
            answer.headers = [("Link", "<http://other.invalid/>; rel=\"next\"")]
            return answer
        }
        let elsewhere = await pulling.failure("owner/name", ["HF_TOKEN": "hf_x"])
        #expect(elsewhere?.message.contains("on another host") == true)
    }

    // MARK: - Content

    /// Wrong bytes are removed, and there is no model.
    @Test(arguments: ["model.safetensors", "config.json"])
    func wrongSums(_ path: String) async throws {
        let pulling = try await Self.pulling { request, answer in
            let isHit =
                path == "config.json" ? request.path.hasSuffix(path) : Self.isLarge(request)
            guard isHit else { return nil }
            var answer = answer
            answer.body[7] ^= 1
            return answer
        }
        let error = await pulling.failure("owner/name")
        #expect(error?.code == .invalidData)
        #expect(error?.message.hasPrefix("\(path): the ") == true, "\(error?.message ?? "")")
        let left = pulling.files(below: pulling.store.root).filter { $0.hasSuffix(".part") }
        #expect(left.count <= 1)
        #expect(!FileIdentity.isTaken(pulling.store.folder(of: "owner/name")))
        pulling.hub.change(nil)
        try await pulling.run("owner/name")
    }

    /// What an earlier pull left is damaged: the file is downloaded once more, from its start.
    @Test func damagedBeginning() async throws {
        let pulling = try await Self.pulling { request, answer in
            guard Self.isLarge(request), request.headers["range"] == nil else { return .init(503) }
            var answer = answer
            answer.sent = 50_000
            return answer
        }
        pulling.hub.change { request, answer in
            guard Self.isLarge(request) else { return nil }
            var answer = answer
            answer.sent = 50_000
            return request.headers["range"] == nil ? answer : .init(503)
        }
        _ = await pulling.failure("owner/name")
        let parts = pulling.store.unfinishedFolder(of: "owner/name") + "/parts"
        let name = try #require(pulling.files(below: parts).first)
        try Data(bytes(50_000, seed: 8)).write(to: URL(fileURLWithPath: parts + "/" + name))
        pulling.hub.change(nil)
        let model = try await pulling.run("owner/name")
        #expect(try pulling.content(model, "model.safetensors") == Self.large)
        #expect(pulling.notes.contains { $0.contains("downloading it anew") })
    }

    @Test func longerThanListed() async throws {
        let pulling = try await Self.pulling { request, answer in
            guard Self.isLarge(request) else { return nil }
            var answer = answer
            answer.body += [0]
            return answer
        }
        let error = await pulling.failure("owner/name")
        #expect(error?.message.contains("is longer than the 200000 bytes") == true)
    }

    @Test(arguments: [
        "../outside", "/etc/passwd", "a/../../b", "a\\b", "C:/x", "a//b", "./a", "nul.txt",
        "sub/COM1", "line\nbreak", "esc\u{1B}[2J", "\u{202E}txt", "",
        String(repeating: "n", count: 300),
    ])
    func refusesNames(_ path: String) async throws {
        let hostile = FakeHub.Repository("owner/name", [path: bytes(4), "ok.txt": bytes(4)])
        let pulling = try Pulling(await FakeHub(hostile))
        let error = await pulling.failure("owner/name")
        #expect(error?.code == .invalidData)
        #expect(error?.message.contains("which is refused") == true, "\(error?.message ?? "")")
        #expect(error?.message.contains("\u{1B}") == false)
        #expect(pulling.hub.downloads.isEmpty)
    }

    @Test func refusesToReplaceItsRecord() async throws {
        let hostile = FakeHub.Repository("owner/name", ["pulled.json": bytes(4)])
        let pulling = try Pulling(await FakeHub(hostile))
        let error = await pulling.failure("owner/name")
        #expect(error?.message.contains("two files have this name") == true)
    }

    /// A link in the place of a folder or part does not lead a pull elsewhere.
    @Test func doesNotFollowLinks() async throws {
        let pulling = try await Self.pulling { request, _ in
            Self.isLarge(request) ? .init(503) : nil
        }
        _ = await pulling.failure("owner/name")
        let parts = pulling.store.unfinishedFolder(of: "owner/name") + "/parts"
        let name = try #require(pulling.files(below: parts).first)
        try FileManager.default.removeItem(atPath: parts + "/" + name)
        let outside = pulling.folder.path("outside")
        try FileManager.default.createSymbolicLink(
            atPath: parts + "/" + name,
            withDestinationPath: outside
        )
        pulling.hub.change(nil)
        let error = await pulling.failure("owner/name")
        #expect(error?.code == .cannotWrite)
        #expect(!FileIdentity.isTaken(outside))
    }

    /// The space is checked before anything is downloaded.
    @Test func fullDisk() async throws {
        let pulling = try await Self.pulling { request, _ in
            guard request.path.contains("/tree/") else { return nil }
            let size = 1 << 49
            return .init(
                text: """
                    [{"type": "file", "path": "a.safetensors", "oid": "0", "size": \(size), "lfs": \
                    {"oid": "\(String(repeating: "ab", count: 32))", "size": \(size)}}]
                    """
            )
        }
        let error = await pulling.failure("owner/name:a.safetensors")
        #expect(error?.code == .diskFull)
        #expect(error?.message.contains("SWAN_MODELS") == true)
        #expect(pulling.hub.downloads.isEmpty)
        // And so much is not taken without being asked for.
        let whole = await pulling.failure("owner/name")
        #expect(whole?.code == .invalidRequest)
    }
}

import Foundation
import GoldenSupport
import HubSupport
import SwanHub
import SwanStore
import SwanSystem
import Synchronization
import Testing

/// Single files at addresses that are not a hub's.
@Suite struct AddressTests {
    private static let content = bytes(100_000)

    private static func server(
        _ headers: [(String, String)] = [],
        _ change: @escaping FakeHub.Change = { _, _ in nil }
    ) async throws -> (Pulling, String) {
        let hub = try await FakeHub()
        hub.change { request, _ in
            var answer = FakeHub.ranged(content, request, tag: "\"one\"")
            answer.headers += headers
            return change(request, answer) ?? answer
        }
        // The hub is elsewhere: this server's files are those of a stranger.
        return (try Pulling(hub), "http://localhost:\(hub.server.port)/folder/a%20file.pth?key=1")
    }

    @Test func pullsAFile() async throws {
        let (pulling, address) = try await Self.server()
        let model = try await pulling.run(address, ["HF_TOKEN": "hf_secret"])
        #expect(model.record.name == "a file.pth")
        #expect(model.location.hasSuffix("/a file.pth"))
        #expect(try pulling.content(model, "a file.pth") == Self.content)
        #expect(model.record.sources.first?.url.hasSuffix("/folder/a%20file.pth") == true)
        #expect(pulling.hub.server.requests.allSatisfy { $0.headers["authorization"] == nil })
        try await pulling.run(address)
        #expect(pulling.notes.last == "a file.pth: is up to date")
    }

    @Test(arguments: [
        ("attachment; filename=\"real.safetensors\"", "real.safetensors"),
        ("attachment; filename=\"../../etc/cron\"", "cron"),
        ("attachment; filename*=UTF-8''na%C3%AFve.gguf; filename=\"x\"", "naïve.gguf"),
        ("attachment; filename=.bashrc", "a file.pth"),
        ("inline", "a file.pth"), ("attachment; filename=pulled.json", "_pulled.json"),
    ])
    func namesFilesAsTheServerSays(_ header: String, _ name: String) async throws {
        let (pulling, address) = try await Self.server([("Content-Disposition", header)])
        #expect(try await pulling.run(address).record.files.map(\.path) == [name])
    }

    @Test func checksASum() async throws {
        let (pulling, address) = try await Self.server()
        try await pulling.run("\(address)#sha256=\(FakeHub.sha256(Self.content))") { $0.name = "a" }
        let wrong = FakeHub.sha256([1])
        await #expect(throws: SwanError.self) {
            try await pulling.run("\(address)#sha256=\(wrong)") { $0.name = "b" }
        }
        #expect(try pulling.store.model(named: "b") == nil)
        #expect(await pulling.failure("\(address)#sha256=12")?.code == .invalidRequest)
    }

    /// If the file changes while it is downloaded, it is not put together from two versions.
    @Test func noticesAChange() async throws {
        let count = Mutex(0)
        let new = bytes(100_000, seed: 5)
        let (pulling, address) = try await Self.server([]) { request, answer in
            let number = count.withLock { count in
                count += 1
                return count
            }
            guard number > 1 else { return nil }
            var answer = number == 2 ? answer : FakeHub.ranged(new, request, tag: "\"two\"")
            if number == 2 { answer.sent = 40_000 }
            return answer
        }
        let model = try await pulling.run(address)
        #expect(pulling.hub.server.requests.last?.headers["if-range"] == "\"one\"")
        #expect(try pulling.content(model, "a file.pth") == new)
    }

    @Test func refusesPagesAndCompression() async throws {
        let (page, address) = try await Self.server([("Content-Type", "text/html; charset=utf-8")])
        #expect(await page.failure(address)?.message.contains("is a web page") == true)
        let (packed, other) = try await Self.server([("Content-Encoding", "gzip")])
        #expect(await packed.failure(other)?.message.contains("compressed") == true)
    }

    @Test func anotherSourceOfTheSameName() async throws {
        let (pulling, address) = try await Self.server()
        try await pulling.run(address)
        let other = address.replacing("/folder/", with: "/other/")
        #expect(await pulling.failure(other)?.code == .exists)
        #expect(try await pulling.run(other) { $0.name = "second" }.record.name == "second")
    }

    /// Requests go to the proxy, unless the host is an exception.
    @Test func usesProxies() async throws {
        let (pulling, address) = try await Self.server()
        let proxy = try await LoopbackServer { _ in .init(403) }
        let variables = ["HTTP_PROXY": "http://127.0.0.1:\(proxy.port)"]
        #expect(await pulling.failure(address, variables)?.code == .io)
        #expect(proxy.requests.first?.method == "CONNECT")
        #expect(proxy.requests.first?.target == "localhost:\(pulling.hub.server.port)")
        #expect(pulling.hub.server.requests.isEmpty)
        try await pulling.run(address, variables.merging(["no_proxy": "localhost"]) { $1 })
        try await proxy.stop()
    }
}

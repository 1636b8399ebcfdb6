import Foundation
import GoldenSupport
import HubSupport
import Synchronization
import Testing

/// `swan models pull` and what finds its models, with a hub on loopback.
@Suite struct PullCommandTests {
    private let folder: TemporaryDirectory
    private let hub: FakeHub

    init() async throws {
        folder = try TemporaryDirectory()
        let model = try Fixture.shared.get().model
        var files: [String: [UInt8]] = [:]
        for path in FileManager.default.enumerator(atPath: model)?.compactMap({ $0 as? String })
            ?? []
        {
            var isFolder: ObjCBool = false
            let file = model + "/" + path
            guard FileManager.default.fileExists(atPath: file, isDirectory: &isFolder),
                !isFolder.boolValue
            else { continue }
            files[path] = Array(try Data(contentsOf: URL(fileURLWithPath: file)))
        }
        files["README.md"] = [1]
        hub = try await FakeHub(.init("owner/tiny-one", files))
    }

    private func swan(_ arguments: String...) throws -> Program.Outcome {
        try start(arguments).end()
    }

    private func start(_ arguments: [String]) throws -> Program {
        try Program(
            arguments,
            in: folder.url.path,
            variables: [
                "HF_ENDPOINT": hub.endpoint, "SWAN_MODELS": folder.path("store"),
                "HOME": folder.path("home"), "XDG_CACHE_HOME": "", "HTTP_PROXY": "",
                "http_proxy": "", "HF_TOKEN": "", "HF_HUB_OFFLINE": "",
            ]
        )
    }

    @Test func aModelFromTheHubToAVideo() throws {
        let missing = try swan("models", "inspect", "owner/tiny-one")
        #expect(missing.code == 69)
        #expect(missing.messages.contains("'swan models pull owner/tiny-one' gets it"))

        let plan = try swan("models", "pull", "owner/tiny-one", "--dry-run")
        #expect(plan.code == 0, "\(plan.messages)")
        #expect(plan.text.contains("transformer/config.json"))
        #expect(!plan.text.contains("README"))
        #expect(!FileManager.default.fileExists(atPath: folder.path("store")))

        let pulled = try swan("models", "pull", "owner/tiny-one")
        #expect(pulled.code == 0, "\(pulled.messages)")
        let path = pulled.text.trimmingCharacters(in: .newlines)
        #expect(path.hasPrefix(folder.path("store")))

        let list = try swan("models", "list", "--json")
        let models = try JSONSerialization.jsonObject(with: list.output) as? [[String: Any]]
        let listed = try #require(models?.first { $0["name"] as? String == "owner/tiny-one" })
        #expect(listed["path"] as? String == path)
        #expect(listed["license"] as? String == "apache-2.0")

        let clip = try Fixture.shared.get().clip
        let streamed = try swan(
            "stream",
            clip,
            "--model",
            "Owner/Tiny-One",
            "--prompt",
            "a",
            "-o",
            "out.mp4"
        )
        #expect(streamed.code == 0, "\(streamed.messages)")
        #expect(try swan("models", "inspect", "owner/tiny-one").code == 0)
        let inside = try swan(
            "stream",
            clip,
            "--model",
            "owner/tiny-one",
            "--prompt",
            "a",
            "-y",
            "-o",
            path + "/vae/config.json"
        )
        #expect(inside.code == 64)
    }

    @Test func verifiesAndRepairs() throws {
        #expect(try swan("models", "pull", "owner/tiny-one", "--name", "mine").code == 0)
        #expect(try swan("models", "verify", "mine").code == 0)
        let weights = folder.path("store/mine/vae/config.json")
        try Data("{}".utf8).write(to: URL(fileURLWithPath: weights))
        let bad = try swan("models", "verify", "mine")
        #expect(bad.code == 65)
        #expect(bad.text.contains("has changed since it was downloaded"))
        #expect(bad.text.contains("'swan models pull --check mine'"))
        let repaired = try swan("models", "pull", "owner/tiny-one", "--name", "mine", "--check")
        #expect(repaired.code == 0, "\(repaired.messages)")
        #expect(try swan("models", "verify", "mine").code == 0)
        // Files that are not a whole model.
        #expect(try swan("models", "pull", "owner/tiny-one:vae/").code == 0)
        let part = try swan("models", "verify", "owner/tiny-one:vae")
        #expect(part.code == 0, "\(part.text)\(part.messages)")
        #expect(part.text.contains("the files are those that were pulled"))

        #expect(try swan("models", "rm", "MINE", "owner/tiny-one:vae").code == 0)
        #expect(try swan("models", "rm", "mine").code == 69)
        #expect(try swan("models", "rm", "tiny").code == 64)
    }

    @Test(arguments: [
        ("wan2.1-t2v-1.3", 69, "did you mean 'wan2.1-t2v-1.3b'?"),
        ("streamdifusionv2", 69, "did you mean 'streamdiffusionv2'?"),
        ("owner/other", 69, "there is no such repository"),
        ("./folder", 64, "needs no pull"),
    ])
    func saysWhatWouldBeRight(_ source: String, _ code: Int32, _ words: String) throws {
        let outcome = try swan("models", "pull", source)
        #expect(outcome.code == code)
        #expect(outcome.messages.contains(words), "\(outcome.messages)")
        let known = try swan("models", "list", "--known")
        #expect(known.text.contains("wan2.2-ti2v-5b\t"))
    }

    /// Ctrl-C keeps what has arrived, and the same command goes on.
    @Test func stops() throws {
        hub.change { request, answer in
            guard request.path.hasPrefix("/cdn/") else { return nil }
            var answer = answer
            (answer.sent, answer.end) = (500, .silence)
            return answer
        }
        let program = try start(["models", "pull", "owner/tiny-one", "--progress", "json"])
        while hub.downloads.filter({ $0.path.hasPrefix("/cdn/") }).isEmpty, program.isRunning {
            usleep(20_000)
        }
        program.send(SIGINT)
        let outcome = try program.end()
        #expect(outcome.code == 130, "\(outcome.messages)")
        #expect(outcome.text.isEmpty)
        #expect(outcome.messages.contains("goes on from what has arrived"))
        let list = try swan("models", "list")
        #expect(list.text.contains("owner/tiny-one\tnot complete"))
        hub.change(nil)
        #expect(try swan("models", "pull", "owner/tiny-one").code == 0)
    }
}

import Foundation
import GoldenSupport
import HubSupport
import SwanHub
import SwanStore
import SwanSystem
import Testing

/// Pulls that succeed, with a hub that does what it should.
@Suite struct PullTests {
    private static let large = bytes(300_000)
    private static let repository = FakeHub.Repository(
        "owner/name",
        [
            "config.json": bytes(20), "model.safetensors": large, "sub/a b+c%.txt": bytes(30),
            "empty.txt": [], "README.md": bytes(5), "assets/picture.png": bytes(9),
        ]
    )

    @Test func pullsARepository() async throws {
        let pulling = try Pulling(await FakeHub(Self.repository))
        let model = try await pulling.run("owner/name", ["HF_TOKEN": " hf_secret\n"])
        let paths = ["config.json", "empty.txt", "model.safetensors", "sub/a b+c%.txt"]
        #expect(model.record.files.map(\.path) == paths)
        for path in paths {
            #expect(try pulling.content(model, path) == Self.repository.files[path], "\(path)")
        }
        #expect(model.record.name == "owner/name")
        #expect(model.record.license == "apache-2.0")
        #expect(model.record.sources.map(\.revision) == ["1234567"])
        #expect(model.record.files[2].sha256 == FakeHub.sha256(Self.large))
        #expect(!model.record.files.contains { $0.url?.contains("signature") == true })
        #expect(try pulling.store.model(named: "OWNER/name")?.folder == model.folder)
        #expect(pulling.store.unfinished().isEmpty)
        #expect(pulling.files(below: pulling.store.root + "/.pulling").isEmpty)
        let size = "owner/name: 4 files, 300 kB, of which 300 kB are to be downloaded"
        #expect(pulling.notes.first == size)
        let progress = try #require(pulling.progress)
        #expect(progress.bytes == 300_050 && progress.totalBytes == 300_050)
        #expect(progress.files == 4 && progress.totalFiles == 4)
    }

    /// The token is for the hub, not for the host that it redirects to.
    @Test func sendsTheTokenToTheHubOnly() async throws {
        let pulling = try Pulling(await FakeHub(Self.repository))
        try await pulling.run("owner/name", ["HF_TOKEN": "hf_secret"])
        let requests = pulling.hub.server.requests
        let redirected = requests.filter { $0.path.hasPrefix("/cdn/") }
        #expect(redirected.count == 1)
        for request in requests {
            let isHub = request.headers["host"]?.hasPrefix("127.0.0.1") == true
            #expect(request.headers["authorization"] == (isHub ? "Bearer hf_secret" : nil))
            #expect(request.headers["accept-encoding"] == "identity")
        }
    }

    @Test func doesNothingWhenUpToDate() async throws {
        let pulling = try Pulling(await FakeHub(Self.repository))
        try await pulling.run("owner/name")
        pulling.hub.server.forget()
        try await pulling.run("owner/name")
        #expect(pulling.hub.downloads.isEmpty)
        #expect(pulling.notes.last == "owner/name: is up to date")
        // Without a network, too.
        pulling.hub.server.forget()
        try await pulling.run("owner/name", ["HF_HUB_OFFLINE": "1"])
        #expect(pulling.hub.server.requests.isEmpty)
        let missing = await pulling.failure("owner/other", ["HF_HUB_OFFLINE": "1"])
        #expect(missing?.code == .noSuchModel)
    }

    /// What is the same in the new revision is not downloaded again.
    @Test func updatesToANewRevision() async throws {
        let pulling = try Pulling(await FakeHub(Self.repository))
        let old = try await pulling.run("owner/name")
        var changed = Self.repository
        changed.commit = "89abcde"
        changed.files["config.json"] = bytes(21)
        changed.files["sub/a b+c%.txt"] = nil
        pulling.hub.set(changed)
        pulling.hub.server.forget()
        let new = try await pulling.run("owner/name")
        #expect(new.folder == old.folder)
        #expect(new.record.sources.map(\.revision) == ["89abcde"])
        #expect(try pulling.content(new, "config.json") == bytes(21))
        #expect(!FileIdentity.isTaken(new.folder + "/sub"))
        #expect(!pulling.hub.downloads.contains { $0.path.contains("safetensors") })
    }

    /// Files that another model or Python's cache has are linked, if they are not damaged.
    @Test func usesWhatIsOnThisMachine() async throws {
        let other = FakeHub.Repository("owner/other", ["copy.safetensors": Self.large])
        let pulling = try Pulling(await FakeHub(Self.repository, other))
        let first = try await pulling.run("owner/name")
        pulling.hub.server.forget()
        let second = try await pulling.run("owner/other")
        #expect(pulling.hub.downloads.isEmpty)
        let path = second.folder + "/copy.safetensors"
        #expect(FileIdentity(path) == FileIdentity(first.folder + "/model.safetensors"))
        #expect(try pulling.store.remove("owner/name") > 300_000)
        #expect(try pulling.content(second, "copy.safetensors") == Self.large)

        try FileManager.default.removeItem(atPath: path)
        _ = try #require(
            FileManager.default.createFile(atPath: path, contents: Data(bytes(300_000, seed: 2)))
        )
        let cache = pulling.folder.path("hub/models--owner--name/blobs")
        try FileManager.default.createDirectory(atPath: cache, withIntermediateDirectories: true)
        try Data(Self.large).write(
            to: URL(fileURLWithPath: cache + "/" + FakeHub.sha256(Self.large))
        )
        pulling.hub.server.forget()
        let third = try await pulling.run(
            "owner/name",
            ["HF_HUB_CACHE": pulling.folder.path("hub")]
        )
        #expect(try pulling.content(third, "model.safetensors") == Self.large)
        #expect(pulling.notes.contains { $0.contains("is damaged, and is not used") })
        #expect(!pulling.hub.downloads.contains { $0.path.contains("safetensors") })
    }

    /// A file that was changed on this machine is replaced with `checksFiles`, and noticed without
    /// if its size differs.
    @Test func repairsAModel() async throws {
        let pulling = try Pulling(await FakeHub(Self.repository))
        let model = try await pulling.run("owner/name")
        let url = URL(fileURLWithPath: model.folder + "/config.json")
        try Data(bytes(20, seed: 9)).write(to: url)
        try await pulling.run("owner/name")
        #expect(try pulling.content(model, "config.json") == bytes(20, seed: 9))
        try await pulling.run("owner/name") { $0.checksFiles = true }
        #expect(try pulling.content(model, "config.json") == bytes(20))
        try Data(bytes(3)).write(to: url)
        try await pulling.run("owner/name")
        #expect(try pulling.content(model, "config.json") == bytes(20))
    }

    @Test func takesPartsOfARepository() async throws {
        let pulling = try Pulling(await FakeHub(Self.repository))
        let file = try await pulling.run("owner/name:model.safetensors")
        #expect(file.location == file.folder + "/model.safetensors")
        let folder = try await pulling.run("owner/name:sub/")
        #expect(folder.record.files.map(\.path) == ["a b+c%.txt"])
        let pattern = try await pulling.run("owner/name@1234567:*.json")
        #expect(pattern.record.files.map(\.path) == ["config.json"])
        let chosen = try await pulling.run("owner/name") {
            $0.patterns = FilePatterns(included: ["*.md", "*.json"], excluded: ["config*"])
            $0.name = "mine"
        }
        #expect(chosen.record.name == "mine")
        #expect(chosen.record.files.map(\.path) == ["README.md"])
        let none = await pulling.failure("owner/name:other.bin")
        #expect(none?.code == .noSuchFile)
        #expect(none?.message.contains("config.json") == true)
    }

    /// The parts of a causal model come from two repositories into one folder.
    @Test func assemblesAKnownModel() async throws {
        let causal = FakeHub.Repository(
            "jerryfeng/StreamDiffusionV2",
            ["wan_causal_dmd_v2v_14b/model.pt": Self.large, "wan_causal_dmd_v2v/model.pt": [1]]
        )
        let base = FakeHub.Repository(
            "Wan-AI/Wan2.1-T2V-14B",
            [
                "config.json": bytes(9), "Wan2.1_VAE.pth": bytes(2_000, seed: 3),
                "models_t5_umt5-xxl-enc-bf16.pth": bytes(2_000, seed: 4),
                "google/umt5-xxl/spiece.model": bytes(40),
                "diffusion_pytorch_model-00001-of-00006.safetensors": bytes(2_000, seed: 5),
                "LICENSE.txt": bytes(11), "README.md": [2], "examples/i2v_input.JPG": [3],
            ]
        )
        let pulling = try Pulling(await FakeHub(causal, base))
        let model = try await pulling.run("StreamDiffusionV2-14B")
        #expect(
            model.record.files.map(\.path) == [
                "LICENSE.txt", "Wan2.1_VAE.pth", "config.json", "google/umt5-xxl/spiece.model",
                "model.pt", "models_t5_umt5-xxl-enc-bf16.pth", "stream.yaml",
            ]
        )
        #expect(try pulling.content(model, "model.pt") == Self.large)
        #expect(model.incompleteFiles.isEmpty)
        pulling.hub.server.forget()
        try await pulling.run("streamdiffusionv2-14b")
        #expect(pulling.hub.downloads.isEmpty)
        let revision = await pulling.failure("streamdiffusionv2@main2")
        #expect(revision?.code == .invalidRequest)
    }

    @Test func putsFilesIntoAFolder() async throws {
        let pulling = try Pulling(await FakeHub(Self.repository))
        let target = pulling.folder.path("here")
        let model = try await pulling.run("owner/name") { $0.folder = target + "/" }
        #expect(model.folder == target)
        #expect(try pulling.folder.names == ["here"])
        let taken = pulling.folder.path("mine")
        try FileManager.default.createDirectory(
            atPath: taken + "/x",
            withIntermediateDirectories: true
        )
        await #expect(throws: SwanError.self) {
            try await pulling.run("owner/name") { $0.folder = taken }
        }
        #expect(pulling.files(below: taken) == ["x"])
    }

    @Test func plansWithoutDownloading() async throws {
        let pulling = try Pulling(await FakeHub(Self.repository))
        let plan = try await pulling.pull("owner/name").plan()
        #expect(plan.bytes == 300_050)
        #expect(plan.files.map(\.path).sorted().first == "config.json")
        #expect(pulling.hub.downloads.isEmpty)
        #expect(!FileIdentity.isTaken(pulling.store.root))
    }

    /// Each file is downloaded once, and both get the model.
    @Test func twoPullsAtOnce() async throws {
        let pulling = try Pulling(await FakeHub(Self.repository))
        async let first = pulling.run("owner/name")
        async let second = pulling.run("owner/name")
        let folders = try await [first.folder, second.folder]
        #expect(folders[0] == folders[1])
        #expect(pulling.hub.downloads.filter { $0.path.hasPrefix("/cdn/") }.count == 1)
    }
}

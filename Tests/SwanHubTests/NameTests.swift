import Foundation
import GoldenSupport
import SwanHub
import SwanStore
import SwanSystem
import Testing

/// Names, addresses, settings and the store.
@Suite struct NameTests {
    private static let hub = URL(string: "https://huggingface.co") ?? URL(fileURLWithPath: "/")

    @Test(
        arguments: [
            ("owner/name", "owner/name", nil, nil),
            ("owner/name@v1.0", "owner/name", "v1.0", nil),
            ("owner/name:sub/file.gguf", "owner/name", nil, "sub/file.gguf"),
            ("owner/name@abc:sub/", "owner/name", "abc", "sub"),
            ("https://huggingface.co/owner/name", "owner/name", nil, nil),
            ("huggingface.co/owner/name/tree/main", "owner/name", nil, nil),
            (
                "https://hf.co/owner/name/tree/dev/split_files/vae", "owner/name", "dev",
                "split_files/vae"
            ),
            (
                "https://huggingface.co/owner/name/blob/main/a%20b.safetensors?x=1", "owner/name",
                nil, "a b.safetensors"
            ),
            (
                "https://huggingface.co/owner/name/resolve/refs/pr/7/x.bin?download=true",
                "owner/name", "refs/pr/7", "x.bin"
            ),
            ("hf://owner/Name", "owner/Name", nil, nil),
            (" owner/name ", "owner/name", nil, nil),
        ] as [(String, String, String?, String?)]
    )
    func parsesRepositories(
        _ text: String,
        _ name: String,
        _ revision: String?,
        _ path: String?
    ) throws {
        let source = try PullSource(text, endpoint: Self.hub)
        #expect(source == .repository(name, revision: revision, path: path))
    }

    @Test func parsesOtherSources() throws {
        let known = try #require(KnownModels.named("wan2.1-t2v-1.3b"))
        for text in [
            "Wan2.1-T2V-1.3B", "wan-ai/wan2.1-t2v-1.3b",
            "https://huggingface.co/Wan-AI/Wan2.1-T2V-1.3B/tree/main",
        ] {
            #expect(try PullSource(text, endpoint: Self.hub) == .known(known, revision: nil))
        }
        let at = try PullSource("wan2.1-t2v-1.3b@abc", endpoint: Self.hub)
        #expect(at == .known(known, revision: "abc"))
        #expect(at.name(fileName: nil) == "wan2.1-t2v-1.3b@abc")
        let page = "https://github.com/madebyollin/taehv/blob/main/taew2_1.pth"
        let raw = "https://github.com/madebyollin/taehv/raw/main/taew2_1.pth"
        let file = try #require(URL(string: raw))
        #expect(try PullSource(page, endpoint: Self.hub) == .file(file, checksum: nil))
        let mirror = try #require(URL(string: "http://mirror:8080/hf"))
        #expect(
            try PullSource("http://mirror:8080/hf/owner/name", endpoint: mirror)
                == .repository("owner/name", revision: nil, path: nil)
        )
    }

    @Test(arguments: [
        "", "wan9", "../x", "/tmp/x", "./model", "~/model", "a/b/c", "https://",
        "https://huggingface.co/datasets/a/b", "https://huggingface.co/owner/name/commits/main",
        "owner/name:../x", "owner/name@a..b", "owner/name:/etc/passwd", "ftp://host/file",
    ])
    func refusesOtherText(_ text: String) {
        #expect(throws: SwanError.self) { try PullSource(text, endpoint: Self.hub) }
    }

    @Test func knownModelsAreSound() {
        #expect(Set(KnownModels.all.map(\.name)).count == KnownModels.all.count)
        for model in KnownModels.all {
            #expect(model.name == model.name.lowercased())
            #expect(!model.parts.isEmpty && !model.license.isEmpty)
            #expect(KnownModels.named(model.name) == model)
        }
    }

    @Test func choosesWhatModelsNeed() {
        let repository = [
            "README.md", ".gitattributes", "assets/a.gif", "config.json", "a/model.safetensors",
            "a/pytorch_model.bin", "b/pytorch_model.bin", "tokenizer/spiece.model", "c.safetensors",
            "c.pth", "d.pth", "flax_model.msgpack", "model.onnx", "x.gguf",
        ]
        let plan = FilePatterns(excluded: ["x*"])
        #expect(plan.take("config.json") && !plan.take("x.gguf"))
        #expect(FilePatterns(included: ["a/"]).take("a/b/c"))
        #expect(!FilePatterns(included: ["a/"]).take("b/a/c"))
        #expect(
            repository.filter(FilePatterns.needed(repository).contains) == [
                "config.json", "a/model.safetensors", "b/pytorch_model.bin",
                "tokenizer/spiece.model", "c.safetensors", "d.pth", "x.gguf",
            ]
        )
    }

    // MARK: - The environment

    @Test func readsTokens() throws {
        let folder = try TemporaryDirectory()
        let path = try folder.file("token", text: " hf_file\n")
        func token(_ variables: [String: String]) throws -> String? {
            try HubEnvironment(variables.merging(["HF_HOME": folder.url.path]) { $1 }).token
        }
        #expect(try token([:]) == "hf_file")
        #expect(try token(["HF_TOKEN": "hf_variable"]) == "hf_variable")
        #expect(try token(["HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"]) == nil)
        #expect(throws: SwanError.self) { try token(["HF_TOKEN": "a\r\nX: y"]) }
        #expect(try HubEnvironment(["HF_TOKEN_PATH": path, "HOME": "/none"]).token == "hf_file")
        #expect(try HubEnvironment(["HOME": "/none"]).token == nil)
        #expect(throws: SwanError.self) { try HubEnvironment(["HF_ENDPOINT": "hub"]) }
        let mirror = try HubEnvironment(["HF_ENDPOINT": "https://hf-mirror.com/", "HOME": "/none"])
        #expect(mirror.endpoint.absoluteString == "https://hf-mirror.com")
    }

    @Test(arguments: [
        ("https://huggingface.co/a", "secure"), ("http://huggingface.co/a", "plain"),
        ("https://cdn.example.com/a", nil), ("https://example.com/a", nil),
        ("https://notexample.com/a", "secure"), ("http://10.0.0.7:8080/a", nil),
        ("http://10.0.0.7/a", "plain"),
    ])
    func choosesProxies(_ address: String, _ host: String?) throws {
        let settings = try ProxySettings([
            "HTTPS_PROXY": "http://user:p%40ss@secure:3128", "http_proxy": "plain",
            "NO_PROXY": "localhost, .example.com,10.0.0.7:8080",
        ])
        let proxy = settings.proxy(for: try #require(URL(string: address)))
        #expect(proxy?.host == host)
        if host == "secure" {
            #expect(proxy?.port == 3128 && proxy?.user == "user" && proxy?.password == "p@ss")
        }
    }

    @Test func otherProxies() throws {
        let url = try #require(URL(string: "https://huggingface.co"))
        let socks = try ProxySettings(["ALL_PROXY": "socks5h://host"]).proxy(for: url)
        #expect(socks?.isSOCKS == true && socks?.port == 1_080)
        #expect(try ProxySettings(["HTTPS_PROXY": "x", "NO_PROXY": "*"]).proxy(for: url) == nil)
        let error = failure { _ = try ProxySettings(["HTTPS_PROXY": "https://u:secret@host"]) }
        #expect("\(try #require(error))".contains("HTTPS_PROXY"))
        #expect(!"\(try #require(error))".contains("secret"))
    }

    // MARK: - The store

    @Test func findsTheStore() {
        #expect(ModelStore(environment: ["SWAN_MODELS": "/a/b/"]).root == "/a/b")
        #expect(ModelStore(environment: ["XDG_CACHE_HOME": "/c"]).root == "/c/swan/models")
        #expect(ModelStore(environment: ["HOME": "/h"]).root == "/h/.cache/swan/models")
    }

    @Test func namesOfFolders() {
        #expect(StoreName.folder("Owner/Name") == "owner--name")
        let names = [
            "owner/name", "owner--name", "a b", "a_b", "a:b", "../x", "..", ".pulling", "é", "",
        ]
        let folders = names.map(StoreName.folder)
        #expect(Set(folders).count == names.count)
        #expect(folders.allSatisfy { !$0.contains("/") && !$0.hasPrefix(".") })
        #expect(StoreName.folder(String(repeating: "ab/", count: 100)).utf8.count < 255)
    }

    @Test func damagedRecords() throws {
        let folder = try TemporaryDirectory()
        let store = ModelStore(root: folder.url.path)
        try FileManager.default.createDirectory(
            atPath: folder.path("x"),
            withIntermediateDirectories: true
        )
        _ = try folder.file("x/pulled.json", text: "{}")
        #expect(store.contents().models.isEmpty)
        #expect(store.contents().problems.count == 1)
        #expect(throws: SwanError.self) { try store.model(named: "x") }
        #expect(try store.remove("x") == 2)
        #expect(failure { _ = try store.remove("x") } as? SwanError != nil)
    }
}

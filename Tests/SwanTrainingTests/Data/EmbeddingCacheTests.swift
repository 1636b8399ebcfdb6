import Foundation
import GoldenSupport
import SwanSystem
import Testing
import Torch

@testable import SwanTraining

@Suite struct EmbeddingCacheTests {
    private let directory: TemporaryDirectory
    private let files: [String]

    init() throws {
        directory = try TemporaryDirectory()
        files = [
            try directory.file("encoder", text: "weights"),
            try directory.file("tokenizer", text: "pieces"),
        ]
    }

    private func cache(_ use: String = "float32") throws -> EmbeddingCache {
        try EmbeddingCache(directory.path("cache"), files: files, use: use)
    }

    /// The embedding of a text, and whether it was made.
    private func embedding(_ text: String, _ cache: EmbeddingCache) throws -> ([Float], Bool) {
        var isMade = false
        let found = try cache.embedding(of: text) {
            isMade = true
            return try Tensor(text.unicodeScalars.map { Float($0.value) }, [1, text.count, 1])
        }
        return (try found.array(), isMade)
    }

    @Test func encodesOnce() throws {
        for text in ["a red ball", "", "ein roter Ball – ü"] {
            let first = try embedding(text, cache())
            let second = try embedding(text, cache())
            #expect(first.1 && !second.1)
            #expect(first.0 == second.0)
        }
    }

    /// What an older encoder made is not used, and is named.
    @Test func findsWhatIsStale() throws {
        let first = try cache()
        _ = try embedding("night", first)
        #expect(first.stale.isEmpty)
        // As long as before.
        Thread.sleep(forTimeInterval: 0.02)
        _ = try directory.file("encoder", text: "WEIGHTS")
        let second = try cache()
        #expect(second.stale.count == 1)
        #expect(try embedding("night", second).1)
        let third = try cache("bfloat16")
        #expect(third.stale.count == 2)
        #expect(try embedding("night", third).1)
        // The old files again.
        Thread.sleep(forTimeInterval: 0.02)
        _ = try directory.file("encoder", text: "weights")
        #expect(try !embedding("night", cache()).1)
    }

    @Test func refusesDamage() throws {
        let cache = try cache()
        _ = try embedding("night", cache)
        let folder = directory.path("cache")
        let names = try FileManager.default.subpathsOfDirectory(atPath: folder)
        let name = try #require(names.first { $0.hasSuffix(".safetensors") })
        let url = URL(filePath: "\(folder)/\(name)")
        var data = try Data(contentsOf: url)
        data[data.count - 2] ^= 1
        try data.write(to: url)
        let error = #expect(throws: SwanError.self) { try embedding("night", cache) }
        #expect(error?.message.contains("remove it, and the text is encoded again") ?? false)
        // A list of checksums that is no JSON is made again.
        try Data("?".utf8).write(to: URL(filePath: "\(folder)/checksums.json"))
        #expect(throws: Never.self) { try self.cache() }
    }
}

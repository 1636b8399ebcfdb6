import Foundation
import GoldenSupport
import SwanSystem
import Testing

@testable import SwanCheckpoints

@Suite struct ModelDigestTests {
    private func write(_ files: [String: [UInt8]], in folder: TemporaryDirectory) throws -> String {
        let path = folder.path("model")
        for (name, bytes) in files {
            let file = URL(fileURLWithPath: path + "/" + name)
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(),
                withIntermediateDirectories: true
            )
            try Data(bytes).write(to: file)
        }
        return path
    }

    private func digest(_ files: [String: [UInt8]]) throws -> String {
        let folder = try TemporaryDirectory()
        return try ModelDigest.text(of: write(files, in: folder))
    }

    @Test func tellsModelsApart() throws {
        let weights = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 * 7 / 3) }
        let files = ["transformer/a.safetensors": weights, "config.json": [1, 2, 3]]
        let own = try digest(files)
        #expect(own.count == 16)
        // Where it lies and what is hidden do not count.
        #expect(try digest(files.merging([".cache/x": [1]]) { $1 }) == own)
        for index in [0, 299_999] {
            var other = weights
            other[index] ^= 1
            let changed = files.merging(["transformer/a.safetensors": other]) { $1 }
            #expect(try digest(changed) != own, "byte \(index)")
        }
        #expect(try digest(files.merging(["config.json": [1, 2]]) { $1 }) != own)
        #expect(try digest(files.merging(["more": []]) { $1 }) != own)
        #expect(try digest(["b.safetensors": weights, "config.json": [1, 2, 3]]) != own)
    }

    @Test func bundledAndMissingModels() throws {
        let folder = try #require(BundledModels.folder("tiny"))
        #expect(try ModelDigest.text(of: "tiny") == ModelDigest.text(of: folder))
        let error = #expect(throws: SwanError.self) { try ModelDigest.text(of: "/no/model") }
        #expect(error?.code == .noSuchModel)
    }
}

import Foundation
import GoldenSupport
import SwanSystem
import Testing

@testable import Torch

/// Files that downloads leave in place of weights: each is named for what it is.
@Suite struct StrangeWeightTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    private func message(_ name: String, _ bytes: [UInt8]) throws -> String {
        let path = try directory.file(name, bytes)
        let error =
            failure {
                switch try WeightFormat.detect(path) {
                case .safetensors: _ = try SafetensorsFile(path: path)
                case .archive: _ = try TorchArchive(path: path)
                case .gguf: _ = try GGUFFile(path: path)
                }
            } as? SwanError
        #expect(error?.code == .invalidFile, "\(name)")
        return error?.message ?? ""
    }

    @Test func areNamed() throws {
        let pointer = """
            version https://git-lfs.github.com/spec/v1
            oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393
            size 2838276272

            """
        let cases: [(String, String)] = [
            (pointer, "pointer of Git LFS"),
            ("<!DOCTYPE html>\n<html><body>Sign in</body></html>", "a web page"),
            ("\n  <html lang=\"en\">" + String(repeating: "ä", count: 600), "a web page"),
            ("<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", "a web page"),
            ("Entry not found", "begins with \"Entry not found\""),
            ("{\"error\":\"Repository not found\"}", "is a text, not weights"),
            ("\u{1F}\u{8B}", "too short|gzip"),
        ]
        for (text, words) in cases {
            let found = try message("x.safetensors", Array(text.utf8))
            #expect(words.split(separator: "|").contains { found.contains($0) }, "\(found)")
        }
        let zipped = try message(
            "x.safetensors",
            [0x1F, 0x8B, 8] + Array(repeating: 200, count: 600)
        )
        #expect(zipped.contains("compressed archive (gzip)"))
        let reserved = try message("x.safetensors", Array(repeating: 0, count: 4_096))
        #expect(reserved.contains("begins with zeros"))
        #expect(try message("x.safetensors", []).contains("is empty; resume the download"))
    }

    @Test func aCutFileSaysHowMuchIsThere() throws {
        let path = directory.path("whole.safetensors")
        try Safetensors.write(["a": .zeros([100, 10])], to: path)
        let whole = Array(try Data(contentsOf: URL(fileURLWithPath: path)))
        let cut = try message("cut.safetensors", Array(whole.prefix(whole.count / 2)))
        let size = whole.count
        #expect(
            cut.contains(
                "is cut short: its header describes \(size) bytes, the file has \(size / 2) (50%)"
            )
        )
        let head = try message("head.safetensors", Array(whole.prefix(20)))
        #expect(head.contains("is cut short"))
        // What a download program left beside it, or in its name, says why.
        _ = try directory.file("cut.safetensors.aria2", [1])
        let beside = try message("cut.safetensors", Array(whole.prefix(whole.count / 2)))
        #expect(beside.contains(".aria2 is beside it: the download is not finished"))
        let named = try message("cut.safetensors.part", Array(whole.prefix(whole.count / 2)))
        #expect(named.contains("Its name ends in .part"))
        let archive = Array(
            try Data(contentsOf: URL(fileURLWithPath: Golden.path("pth_nested.pth")))
        )
        let broken = try message("cut.pth", Array(archive.prefix(archive.count / 2)))
        #expect(broken.contains("is cut short") && broken.contains("download it again"))
    }

    @Test func aLinkToNothingIsNamed() throws {
        let path = directory.path("link.safetensors")
        try FileManager.default.createSymbolicLink(
            atPath: path,
            withDestinationPath: directory.path("blobs/nothing")
        )
        let error = failure { _ = try SafetensorsFile(path: path) } as? SwanError
        #expect(error?.code == .noSuchFile)
        #expect(error?.message.contains("is a link to a file that does not exist") == true)
    }
}

import Foundation
import GoldenSupport
import SwanCheckpoints
import SwanSystem
import Testing
import Torch

@testable import SwanDatasets

@Suite struct LatentDatabaseTests {
    private let folder = FileManager.default.temporaryDirectory
        .appendingPathComponent("swan-latents-\(UUID().uuidString)")

    private func path(_ name: String) throws -> String {
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        return folder.appendingPathComponent(name).path
    }

    private func latents(_ seed: Int, _ shape: [Int] = [4, 3, 2, 4, 6]) throws -> Tensor {
        try Tensor.randn(shape, Generator(seed: UInt64(seed)))
    }

    /// Files as `torch.save` writes them become rows in the order of their names; of two with one
    /// prompt the first stays.
    @Test func packsFiles() throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        let source = try path("pairs")
        try FileManager.default.createDirectory(atPath: source, withIntermediateDirectories: true)
        let prompts = ["a red ball", "two cats", "a red ball", "größer 猫"]
        for (index, prompt) in prompts.enumerated() {
            let latents = try latents(index).unsqueezed(0)
            try TorchArchive.write([prompt: latents], to: "\(source)/0000\(index).pt")
        }
        let target = try path("pairs.lmdb")
        let result = try LatentPacking(source).write(to: target)
        #expect(result.rows == 3 && result.repeated == 1)

        let database = try LatentDatabase(target)
        #expect(database.count == 3 && database.shape == [4, 3, 2, 4, 6])
        for (row, index) in [0, 1, 3].enumerated() {
            let found = try database.row(row)
            #expect(found.prompt == prompts[index])
            let half = try latents(index).to(.float16).to(.float32)
            #expect(try found.latents.array(of: Float.self) == half.array(of: Float.self))
        }
        let inspection = try LatentInspection(target)
        #expect(inspection.faults.isEmpty && inspection.states.count == 4)
        #expect(inspection.states.allSatisfy { abs($0.standardDeviation - 1) < 0.1 })
        // Nothing but the database and its source is left.
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).count == 2)
    }

    /// Written by LMDB's package for Python.
    @Test func readsWhatPythonWrites() throws {
        let database = try LatentDatabase(Golden.path("lmdb_pairs"))
        #expect(database.count == 2 && database.shape == [2, 3, 2, 4, 6])
        let elements = 2 * 3 * 2 * 4 * 6
        for (index, prompt) in ["a red ball rolls left", "größer 猫"].enumerated() {
            let row = try database.row(index)
            #expect(row.prompt == prompt)
            let expected = (0..<elements).map { Float(index * elements + $0) / 8 }
            #expect(try row.latents.array(of: Float.self) == expected)
        }
    }

    /// A database that outgrows its first map.
    @Test func grows() throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        let target = try path("large.lmdb")
        let writer = try LatentDatabaseWriter(target, PartialFolder())
        let row = try Tensor.ones([1, 5, 16, 256, 256])
        for index in 0..<14 {
            _ = try writer.add(row * Double(index), prompt: "\(index)", from: "")
        }
        #expect(try writer.finish() == 14)
        let database = try LatentDatabase(target)
        #expect(try database.row(13).latents.max().item() == 13)
    }

    @Test func rowsOfOtherShapesAreRefused() throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        let source = try path("pairs")
        try FileManager.default.createDirectory(atPath: source, withIntermediateDirectories: true)
        try TorchArchive.write(["a": latents(0)], to: "\(source)/0.pt")
        try TorchArchive.write(["b": latents(1, [4, 3, 2, 4, 7])], to: "\(source)/1.pt")
        let error = #expect(throws: SwanError.self) {
            try LatentPacking(source).write(to: path("pairs.lmdb"))
        }
        #expect(error?.message.contains("1.pt, 'b': latents have the shape") == true)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["pairs"])
    }

    @Test func notFiniteLatentsAreRefused() throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        let writer = try LatentDatabaseWriter(path("x.lmdb"), PartialFolder())
        for value in [Float.nan, .infinity, 1e6] {
            #expect(throws: SwanError.self) {
                try writer.add(Tensor([value], [1, 1, 1, 1]), prompt: "\(value)", from: "x.pt")
            }
        }
    }

    /// The reference writes the shape of the last file even if the rows have another one.
    @Test func damageIsFound() throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        let target = try path("pairs.lmdb")
        try FileManager.default.createDirectory(atPath: target, withIntermediateDirectories: true)
        let row = try latents(0, [3, 2, 4, 6]).to(.float16)
        let bytes = try row.withUnsafeBytes { Array($0) }
        func write(_ values: [(String, String)]) throws {
            let file = try KeyValueFile(writing: target)
            try file.write(values.map { (key: $0.0, bytes: Array($0.1.utf8)) })
        }
        func message() -> String? {
            #expect(throws: SwanError.self) { try LatentDatabase(target) }?.message
        }
        #expect(message()?.contains("no data.mdb") == true)
        try write([("other", "1")])
        #expect(message()?.contains("has no key 'latents_shape'") == true)
        try write([("latents_shape", "2 3 x 4 6")])
        #expect(message()?.contains("not sizes") == true)
        try write([("latents_shape", "2 3 2 4")])
        #expect(message()?.contains("not [N, F, C, H, W]") == true)
        try write([("latents_shape", "2 3 2 4 6"), ("prompts_shape", "3")])
        #expect(message()?.contains("there are 2 rows") == true)
        try write([("latents_shape", "2 3 2 4 9999999999999999"), ("prompts_shape", "2")])
        #expect(message()?.contains("no row can have the shape") == true)
        try write([("latents_shape", "2 3 2 4 7"), ("prompts_0_data", "a")])
        #expect(message()?.contains("row 0 of 2 is missing") == true)
        try KeyValueFile(writing: target).write([("latents_0_data", bytes)])
        #expect(message()?.contains("latents_0_data has 288 bytes") == true)
        try write([("latents_shape", "2 3 2 4 6")])
        #expect(try LatentDatabase(target).row(0).prompt == "a")
        #expect(throws: SwanError.self) { try LatentDatabase(target).row(1) }
        #expect(try LatentInspection(target).faults.count == 1)

        let file = "\(target)/data.mdb"
        let size = try FileManager.default.attributesOfItem(atPath: file)[.size] as? Int ?? 0
        truncate(file, size / 2)
        #expect(message()?.contains("is cut short") == true)
        try Data(repeating: 7, count: 20_000).write(to: URL(fileURLWithPath: file))
        #expect(message()?.contains("is not a database of LMDB") == true)
    }

    @Test func promptsAreLines() throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        let file = try path("prompts.txt")
        try Data("a\r\n\n  two words  \nlast".utf8).write(to: URL(fileURLWithPath: file))
        #expect(try PromptFile(file).prompts == ["a", "two words", "last"])
        try Data("\n \n".utf8).write(to: URL(fileURLWithPath: file))
        #expect(throws: SwanError.self) { try PromptFile(file) }
    }
}

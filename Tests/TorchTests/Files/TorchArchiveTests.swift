import Foundation
import GoldenSupport
import Testing

@testable import Torch
import SwanSystem

/// Files written by PyTorch (Goldens/pth.py).
@Suite struct TorchArchiveTests {
    private func counted(_ tensor: Tensor) throws -> [Float] { try tensor.array(of: Float.self) }

    @Test func readsEveryMemoryLayout() throws {
        let archive = try TorchArchive(path: Golden.path("pth_state_dict.pth"))
        let tensors = archive.tensors()
        #expect(tensors.count == 24)
        let expected: [(String, [Int], [Float])] = [
            ("weight", [3, 2], [0, 1, 2, 3, 4, 5]),
            ("bias", [3], [0, 1, 2]),
            ("parameter", [4], [0, 1, 2, 3]),
            ("transposed", [6, 4], (0..<24).map { Float($0 % 4 * 6 + $0 / 4) }),
            ("column", [4], [2, 8, 14, 20]),
            ("corner", [2, 2], [8, 9, 14, 15]),
            ("expanded", [3, 2], [0, 0, 1, 1, 2, 2]),
            ("channels_last", [1, 2, 2, 2], [0, 1, 2, 3, 4, 5, 6, 7]),
            ("scalar", [], [7]),
            ("empty", [0, 4], []),
        ]
        for (key, shape, values) in expected {
            let tensor = try #require(tensors[key])
            #expect(tensor.shape == shape, "\(key)")
            let loaded = try tensor.load()
            #expect(loaded.shape == shape, "\(key)")
            #expect(try counted(loaded) == values, "\(key)")
        }
        #expect(tensors["transposed"]?.strides == [1, 6])
    }

    @Test(
        arguments: [
            ("uint8", .uint8), ("int8", .int8), ("int16", .int16), ("int32", .int32),
            ("int64", .int64), ("float16", .float16), ("bfloat16", .bfloat16),
            ("float32", .float32),
            ("float64", .float64), ("bool", .bool), ("complex64", .complex64),
            ("complex128", .complex128), ("float8_e5m2", .float8e5m2),
            ("float8_e4m3fn", .float8e4m3),
        ] as [(String, DType)]
    )
    func readsEveryDType(_ name: String, _ dtype: DType) throws {
        let archive = try TorchArchive(path: Golden.path("pth_state_dict.pth"))
        let tensor = try #require(archive.tensors()["dtype.\(name)"])
        #expect(tensor.dtype == dtype)
        let expected = try Tensor([0, 1, 2] as [Float], [3]).to(dtype)
        let same = try tensor.load().withUnsafeBytes { Array($0) }
        #expect(try same == expected.withUnsafeBytes { Array($0) })
    }

    @Test(arguments: ["pth_nested.pth", "pth_nested_protocol4.pth"])
    func readsValuesOtherThanWeights(_ name: String) throws {
        let archive = try TorchArchive(path: Golden.path(name))
        #expect(archive.tensors().isEmpty)
        let weights = archive.tensors(at: ["generator"])
        #expect(weights.keys.sorted() == ["model.a.bias", "model.a.weight"])
        #expect(try weights["model.a.bias"].map { try counted($0.load()) } == [0, 1])
        let average = archive.tensors(at: ["generator_ema"])
        #expect(try average["model.a.bias"].map { try counted($0.load()) } == [1, 2])
        #expect(archive.dictionary(at: ["nobody"]) == nil)

        let root = try #require(archive.dictionary())
        let texts = root.filter { $0.key != "generator" && $0.key != "generator_ema" }
            .filter { $0.key != "critic" }.mapValues { "\($0)" }
        #expect(
            texts == [
                "step": "integer(12000)", "seed": "real(1.8446744073709552e+19)",
                "least": "integer(-9223372036854775808)", "rate": "real(1.5e-06)",
                "name": #"text("Käse")"#, "done": "bool(true)", "none": "none",
                "betas": "list([\(real(0.9)), \(real(0.999))])",
                "history":
                    "list([\(integer(1)), \(prefix)list([\(integer(2)), \(prefix)list([\(integer(3))])])])",
                "size": "list([\(integer(1)), \(integer(2))])",
                "dtype": #"named("torch.bfloat16")"#,
                "device": #"named("torch.device cpu")"#,
                "0": #"dictionary(["1": \#(prefix)text("one")])"#,
            ]
        )
    }

    private let prefix = "Torch.PickledValue."
    private func integer(_ value: Int) -> String { "\(prefix)integer(\(value))" }
    private func real(_ value: Double) -> String { "\(prefix)real(\(value))" }

    @Test func tensorsOutliveTheArchive() throws {
        let tensor = try #require(
            TorchArchive(path: Golden.path("pth_state_dict.pth")).tensors()["corner"]
        )
        #expect(try counted(tensor.load()) == [8, 9, 14, 15])
    }

    @Test func refusesShellCommandsByName() throws {
        let path = Golden.path("pth_os_system.pth")
        let error = try #require(failure { _ = try TorchArchive(path: path) } as? SwanError)
        #expect(error.code == .invalidFile)
        #expect(error.message.contains("refers to Python's posix.system"))
        #expect(error.message.contains("data.pkl, byte "))
        #expect(!FileManager.default.fileExists(atPath: "pth_was_run"))
    }

    @Test func explainsHowToConvertTheOldFormat() throws {
        let error = failure { _ = try TorchArchive(path: Golden.path("pth_legacy.pth")) }
        #expect((error as? SwanError)?.message.contains("PyTorch before 1.6") == true)
        #expect((error as? SwanError)?.message.contains("save it again") == true)
    }

    @Test func readsZip64Archives() throws {
        let directory = try TemporaryDirectory()
        var zip = ZipBuilder.checkpoint(
            Pickle.dictionary(Pickle.tensor(count: 2, shape: [2], strides: [1])),
            ["0": [0, 0, 128, 63, 0, 0, 0, 64]]
        )
        zip.isWide = true
        zip.comment = Array("a comment".utf8)
        for index in zip.files.indices { zip.files[index].isWide = true }
        let archive = try TorchArchive(path: directory.file("wide.pth", zip.bytes))
        #expect(try archive.tensors()["w"].map { try counted($0.load()) } == [1, 2])
    }
}

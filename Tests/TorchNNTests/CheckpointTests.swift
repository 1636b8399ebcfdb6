import Foundation
import GoldenSupport
import Testing
import Torch
import TorchNN
import SwanSystem

@Suite struct CheckpointTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    /// Writes a safetensors file of one-element tensors whose values count up in the order of the keys.
    private func write(_ name: String, _ keys: [String]) throws -> String {
        var tensors: [String: Tensor] = [:]
        for (index, key) in keys.enumerated() { tensors[key] = try Tensor([Float(index)], [1]) }
        try Safetensors.write(tensors, metadata: ["format": "pt"], to: directory.path(name))
        return directory.path(name)
    }

    private func message(_ body: () throws -> Void) -> String {
        failure(of: body).map { "\($0)" } ?? "no error"
    }

    @Test func opensSafetensors() throws {
        let checkpoint = try Checkpoint.open(write("a.safetensors", ["b", "a"]))
        #expect(checkpoint.keys.sorted() == ["a", "b"])
        #expect(checkpoint.shape("a") == [1])
        #expect(checkpoint.shape("c") == nil)
        #expect(checkpoint.dtype("a") == .float32)
        #expect(checkpoint.metadata == ["format": "pt"])
        #expect(try checkpoint.tensor("a", [1]).item() == 1)
        #expect(message { _ = try checkpoint.tensor("c", [1]) }.hasSuffix("there is no weight c"))
    }

    @Test(arguments: [
        (["model.a.w", "model.b"], ["a.w", "b"]),
        (["model.diffusion_model.a", "model.diffusion_model.b"], ["a", "b"]),
        (["module.model._fsdp_wrapped_module.a", "module.model.b"], ["a", "b"]),
        (["blocks.0._checkpoint_wrapped_module.q", "blocks.1.q"], ["blocks.0.q", "blocks.1.q"]),
        (["_orig_mod.a"], ["a"]),
        (["model.a", "b"], ["b", "model.a"]),
        (["model.", "model.a"], ["model.", "model.a"]),
        (["models.a"], ["models.a"]),
    ])
    func stripsWrapperPrefixes(_ keys: [String], _ expected: [String]) throws {
        let checkpoint = try Checkpoint.open(write("a.safetensors", keys))
        #expect(checkpoint.keys.sorted() == expected)
        for key in expected { #expect(checkpoint.shape(key) == [1]) }
    }

    @Test func refusesKeysThatCollideWithoutPrefixes() throws {
        let path = try write("a.safetensors", ["a", "_orig_mod.a"])
        #expect(
            message { _ = try Checkpoint.open(path) }.contains("more than one weight is named a")
        )
    }

    @Test func findsTheWeightsInAnArchive() throws {
        let nested = Golden.path("pth_nested.pth")
        let generator = try Checkpoint.open(nested)
        #expect(generator.keys.sorted() == ["a.bias", "a.weight"])
        #expect(try generator.tensor("a.bias", [2]).array(of: Float.self) == [0, 1])
        let average = try Checkpoint.open(nested, preferring: ["generator_ema"])
        #expect(try average.tensor("a.bias", [2]).array(of: Float.self) == [1, 2])
        let bare = try Checkpoint.open(Golden.path("pth_state_dict.pth"))
        #expect(bare.shape("transposed") == [6, 4])
        #expect(bare.dtype("dtype.bfloat16") == .bfloat16)
        let none = message { _ = try Checkpoint.open(nested, preferring: ["nobody"]) }
        #expect(none.contains("neither under nobody nor at the top level"))
        #expect(none.contains("generator, generator_ema"))
    }

    @Test func reportsWhyAnArchiveIsRefused() throws {
        let system = message { _ = try Checkpoint.open(Golden.path("pth_os_system.pth")) }
        #expect(system.contains("refers to Python's posix.system"))
        let legacy = message { _ = try Checkpoint.open(Golden.path("pth_legacy.pth")) }
        #expect(legacy.contains("PyTorch before 1.6"))
    }
}

// MARK: - Shards

extension CheckpointTests {
    @Test func opensShardsByIndex() throws {
        _ = try write("x-00001-of-00002.safetensors", ["model.a", "model.b"])
        _ = try write("x-00002-of-00002.safetensors", ["model.c"])
        let index = try directory.file(
            "x.safetensors.index.json",
            text: """
                {"metadata": {"total_size": 12}, "weight_map": {
                "model.a": "x-00001-of-00002.safetensors", "model.b": "x-00001-of-00002.safetensors",
                "model.c": "x-00002-of-00002.safetensors"}}
                """
        )
        let checkpoint = try Checkpoint.open(index)
        #expect(checkpoint.keys.sorted() == ["a", "b", "c"])
        #expect(try checkpoint.tensor("b", [1]).item() == 1)
        #expect(checkpoint.repeated.isEmpty)
    }

    /// The index decides, and the duplicate is reported.
    @Test func readsADuplicateWeightFromTheIndexedShard() throws {
        _ = try write("x.safetensors", ["b", "a"])
        _ = try write("y.safetensors", ["c", "b"])
        let index = try directory.file(
            "z.safetensors.index.json",
            text: """
                {"weight_map": {"a": "x.safetensors", "b": "y.safetensors", "c": "y.safetensors"}}
                """
        )
        let checkpoint = try Checkpoint.open(index)
        #expect(try checkpoint.tensor("b", [1]).item() == 1)
        #expect(
            checkpoint.repeated
                == ["b: is also in x.safetensors; the index takes it from y.safetensors"]
        )
    }

    @Test(arguments: [
        (
            #"{"weight_map": {"a": "no.safetensors"}}"#,
            "its shard no.safetensors is not in the same directory"
        ),
        (
            #"{"weight_map": {"b": "x.safetensors"}}"#,
            "the weight b is not in its shard x.safetensors"
        ),
        (
            #"{"weight_map": {"a": "../x.safetensors"}}"#,
            "../x.safetensors is not a safetensors file name"
        ),
        (#"{"weight_map": {"a": "/etc/passwd"}}"#, "/etc/passwd is not a safetensors file name"),
        (#"{"weight_map": 3}"#, "is not an index of shards"),
        ("text", "is not an index of shards"),
    ])
    func refusesBadIndexes(_ text: String, _ says: String) throws {
        _ = try write("x.safetensors", ["a"])
        let index = try directory.file("x.safetensors.index.json", text: text)
        let error = message { _ = try Checkpoint.open(index) }
        #expect(error.contains(says) && error.hasPrefix(index), "\(error)")
    }

    @Test func reportsAMissingIndex() {
        do {
            _ = try Checkpoint.open(directory.path("no.json"))
            Issue.record("it was opened")
        } catch {
            #expect(error.code == .noSuchFile)
        }
    }
}

// MARK: - Finite values and renaming

extension CheckpointTests {
    @Test(arguments: [Float.nan, .infinity, -.infinity])
    func namesWeightsThatAreNotFinite(_ value: Float) throws {
        let dtypes: [DType] = [.float32, .float16, .bfloat16, .float64]
        var tensors = ["sound": try Tensor([1, 2] as [Float], [2])]
        for dtype in dtypes { tensors["broken.\(dtype)"] = try Tensor([1, value], [2]).to(dtype) }
        try Safetensors.write(tensors, to: directory.path("a.safetensors"))
        let error = message { try Checkpoint.open(directory.path("a.safetensors")).requireFinite() }
        for dtype in dtypes { #expect(error.contains("broken.\(dtype)")) }
        #expect(!error.contains("sound"))
    }

    @Test func acceptsFiniteWeights() throws {
        // Their sum overflows, although each value is finite.
        let large = try Tensor.full([4096], 60_000).to(.float16)
        let narrow = try Tensor([448, -448] as [Float], [2]).to(.float8e4m3)
        let empty = try Tensor.empty([0])
        try Safetensors.write(
            ["l": large, "n": narrow, "e": empty],
            to: directory.path("a.safetensors")
        )
        try Checkpoint.open(directory.path("a.safetensors")).requireFinite()
    }

    @Test func renamesWeights() throws {
        let source = DictionaryWeights([
            "a.x": try Tensor([1] as [Float], [1]), "b": try .zeros([2]),
        ])
        let renamed = try RenamedWeights(source) { $0 == "b" ? nil : "c" + $0.dropFirst() }
        #expect(renamed.keys == ["c.x"])
        #expect(try renamed.shape("c.x") == [1])
        #expect(try renamed.shape("b") == nil)
        #expect(try renamed.tensor("c.x", [1]).item() == 1)
        let error = message { _ = try RenamedWeights(source) { _ in "same" } }
        #expect(error.contains("are both named same"))
    }
}

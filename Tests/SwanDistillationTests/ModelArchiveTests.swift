import Foundation
import GoldenSupport
import SwanSystem
import SwanTraining
import Testing
import Torch

@testable import SwanDistillation

/// `model.pt`, as the references save it, with every checkpoint.
@Suite struct ModelArchiveTests {
    private func archive(_ tiny: TinyDistillation, _ output: String, _ step: Int) throws
        -> TorchArchive
    {
        let name = String(format: "checkpoint_model_%06d/model.pt", step)
        return try TorchArchive(path: tiny.directory.path("\(output)/\(name)"))
    }

    /// The tensors under a prefix in the newest of Swan's own checkpoints up to a step.
    private func own(
        _ tiny: TinyDistillation,
        _ stage: String,
        _ step: Int,
        _ prefix: String
    ) throws -> [String: [Float]] {
        let name = String(format: "/checkpoints/%@/step-%08d.safetensors", "dmd", step)
        let file = try SafetensorsFile(path: tiny.directory.path(stage) + name)
        var found: [String: [Float]] = [:]
        for key in file.keys where key.hasPrefix(prefix) {
            found[String(key.dropFirst(prefix.count))] = try file.tensor(key).array()
        }
        return found
    }

    private func values(_ archive: TorchArchive, _ group: String) throws -> [String: [Float]] {
        var found: [String: [Float]] = [:]
        for (key, tensor) in archive.tensors(at: [group]) {
            #expect(key.hasPrefix("model.") && tensor.dtype == .float32)
            found[String(key.dropFirst(6))] = try tensor.load().array()
        }
        return found
    }

    @Test func hasTheWeightsOfEachCheckpoint() throws {
        let tiny = try TinyDistillation()
        try tiny.writeLatents()
        let changes = ["ema_weight": "0.5", "ema_start_step": "3"]
        try Distillation.run(tiny.file("dmd", changes), tiny.options("out", steps: 5))
        let names = try FileManager.default.contentsOfDirectory(
            atPath: tiny.directory.path("out")
        )
        // As many as own checkpoints.
        #expect(
            names.filter { $0.hasPrefix("checkpoint_model") }.sorted()
                == ["checkpoint_model_000004", "checkpoint_model_000005"]
        )
        let file = try archive(tiny, "out", 5)
        #expect(file.dictionary()?.keys.sorted() == ["critic", "generator", "generator_ema"])
        for (group, prefix) in [
            ("generator", "generator/weights/"), ("critic", "critic/weights/"),
            ("generator_ema", "generator/averages/"),
        ] {
            let expected = try own(tiny, "out", 5, prefix)
            #expect(!expected.isEmpty)
            #expect(try values(file, group) == expected, "\(group)")
        }
    }

    /// There is no average before it is kept, and no critic in a regression.
    @Test func hasWhatThereIs() throws {
        let tiny = try TinyDistillation()
        try tiny.writeLatents(states: 3)
        try Distillation.run(tiny.file("ode"), tiny.options("out", steps: 1))
        #expect(try archive(tiny, "out", 1).dictionary()?.keys.sorted() == ["generator"])
    }

    /// Each of its dictionaries can be what another run starts from, bit for bit.
    @Test(arguments: [nil, "generator", "generator_ema", "critic"] as [String?])
    func isReadBack(key: String?) throws {
        let tiny = try TinyDistillation()
        try tiny.writeLatents()
        try Distillation.run(
            tiny.file("dmd", ["ema_weight": "0.5", "lr": "0.01"]),
            tiny.options("first", steps: 4)
        )
        var changes = ["generator_ckpt": "first/checkpoint_model_000004/model.pt"]
        if let key { changes["generator_ckpt_key"] = key }
        try Distillation.run(tiny.file("dmd", changes), tiny.options("second", steps: 1))
        let started = try own(tiny, "second", 0, "generator/weights/")
        let file = try archive(tiny, "first", 4)
        #expect(try started == values(file, key ?? "generator"))
        let others = ["generator", "generator_ema", "critic"].filter { $0 != key ?? "generator" }
        for other in others { #expect(try started != values(file, other)) }
    }

    @Test func saysWhatAFileHas() throws {
        let tiny = try TinyDistillation()
        try tiny.writeLatents()
        try Distillation.run(tiny.file("dmd"), tiny.options("first", steps: 1))
        func message(_ changes: [String: String]) throws -> String {
            let error = #expect(throws: SwanError.self) {
                let output = "second\(changes.values.sorted().joined().count)"
                try Distillation.run(tiny.file("dmd", changes), tiny.options(output, steps: 1))
            }
            return error?.message ?? ""
        }
        let file = "first/checkpoint_model_000001/model.pt"
        let missing = try message([
            "generator_ckpt": file, "generator_ckpt_key": "generator_ema",
        ])
        #expect(missing.contains("it has: critic, generator"), "\(missing)")
        let plain = try message([
            "generator_ckpt": "first/transformer/diffusion_pytorch_model.safetensors",
            "generator_ckpt_key": "generator",
        ])
        #expect(plain.contains("not a file of torch.save"), "\(plain)")
        try Safetensors.write(
            ["model.a.weight": .zeros([2, 3])],
            metadata: [:],
            to: tiny.directory.path("other.safetensors")
        )
        let unlike = try message(["generator_ckpt": "other.safetensors"])
        #expect(unlike.contains("unknown: a.weight") || unlike.contains("not a transformer like"))
        #expect(throws: SwanError.self) {
            _ = try tiny.file("dmd", ["generator_ckpt_key": "generator"])
        }
    }
}

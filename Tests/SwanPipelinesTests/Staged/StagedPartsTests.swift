import Foundation
import GoldenSupport
import ModelSupport
import SwanSystem
import Testing
import Torch

@testable import SwanPipelines

/// What a rank loads of a model.
@Suite struct StagedPartsTests {
    /// A weight that is not finite is found by the rank that loads it, and by no other.
    @Test func checksOnlyWhatItLoads() throws {
        let folder = try TemporaryDirectory()
        try TinyModel.write(to: folder.url.path)
        let path = folder.path("transformer/diffusion_pytorch_model.safetensors")
        let file = try SafetensorsFile(path: path)
        var tensors: [String: Tensor] = [:]
        for key in file.keys { tensors[key] = try file.tensor(key).cloned() }
        let key = try #require(file.keys.sorted().first { $0.hasPrefix("blocks.1.") })
        try tensors[key]?.fill(with: .infinity)
        try Safetensors.write(tensors, to: path)
        let checkpoint = try StreamCheckpoint(folder.url.path)
        func load(_ blocks: Range<Int>?) throws {
            _ = try checkpoint.loadTransformer(.float32, .cpu, blocks: blocks)
        }
        try load(0..<1)
        for blocks in [1..<2, 0..<2, nil] {
            let error = #expect(throws: SwanError.self) { try load(blocks) }
            #expect(error?.code == .invalidWeights)
            #expect(error?.message.contains("not finite") == true, "\(error?.message ?? "")")
            #expect(error?.message.contains("blocks.1.") == true, "\(error?.message ?? "")")
        }
    }
}

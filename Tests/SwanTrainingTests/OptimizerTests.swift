import Foundation
import GoldenSupport
import Testing
import Torch

@testable import SwanTiny
@testable import SwanTraining

@Suite("Optimizer")
struct OptimizerTests {
    @Test func theLearningRateRisesStaysAndFalls() throws {
        let options = try TinyRecipe.make().vae.optimizer
        #expect(options.learningRate(step: 0, of: 100) == 0.5e-3)
        #expect(options.learningRate(step: 1, of: 100) == 1e-3)
        #expect(options.learningRate(step: 50, of: 100) == 1e-3)
        #expect(abs(options.learningRate(step: 75, of: 100) - 0.5e-3) < 1e-9)
        #expect(options.learningRate(step: 99, of: 100) == 1e-4)
    }

    @Test func optimizerStepMatchesAdam() throws {
        var options = try TinyRecipe.make().vae.optimizer
        options.warmUpSteps = 0
        options.maximumGradientNorm = 1
        let weight = try Tensor([1, -2] as [Float], [2])
        let optimizer = try Optimizer(for: [weight])
        let norm = try optimizer.update(
            [weight],
            [Tensor([3, 4] as [Float], [2])],
            number: 1,
            rate: options.learningRate(step: 0, of: 10),
            options
        )
        #expect(norm == 5)
        // The first step has the size of the learning rate for any gradient. Weight decay comes
        // before it.
        let expected = [1 * (1 - 1e-5) - 1e-3, -2 * (1 - 1e-5) - 1e-3]
        for (value, right) in zip(try weight.array(of: Double.self), expected) {
            #expect(abs(value - right) < 1e-6)
        }
        // The gradient is clipped to a norm of 1 (0.6 and 0.8). The moments are a tenth of it.
        let moments = try optimizer.firstMoments[0].array(of: Double.self)
        #expect(abs(moments[0] - 0.06) < 1e-5 && abs(moments[1] - 0.08) < 1e-5)
    }

    @Test func acceptsGradientsWithOtherStrides() throws {
        let options = try TinyRecipe.make().vae.optimizer
        let weight = try Tensor.zeros([2, 3])
        let optimizer = try Optimizer(for: [weight])
        // [[1, -1, 1], [-1, 1, 1]], column by column.
        let gradient = try Tensor([1, -1, -1, 1, 1, 1] as [Float], [3, 2]).transposed(0, 1)
        _ = try optimizer.update([weight], [gradient], number: 1, rate: 1e-3, options)
        let signs = try weight.array(of: Float.self).map { $0 < 0 }
        #expect(signs == [true, false, true, false, true, true])
    }

    /// Compares with `torch.optim.Muon`.
    @Test(arguments: ["wide", "tall", "square"])
    func muonMatchesPyTorch(name: String) throws {
        let golden = try Golden("muon")
        let config = try JSONDecoder().decode(MuonConfig.self, from: golden.json("config"))
        let muon = Muon(
            rate: config.learningRate,
            weightDecay: config.weightDecay,
            dtype: .float32
        )
        let weight = try golden.input(name)
        let momentum = try weight.zerosLike()
        for gradient in try golden.input("gradient_" + name).unbound() {
            try muon.step(weight, gradient, momentum: momentum)
        }
        try expectClose(weight, golden.output(name), within: golden.tolerance)
    }

    @Test func orthogonalizationEqualizesSingularValues() throws {
        let generator = try Generator(seed: 3)
        // Rows of sizes from 1 down to 0.03.
        let sizes = try Tensor((0..<24).map { pow(0.86, Float($0)) }, [24, 1])
        let matrix = try Tensor.randn([24, 60], generator) * sizes
        let result = try Muon.orthogonalized(matrix, in: .float32)
        let lengths = try result.pow(2).sum([1]).array(of: Float.self)
        #expect(lengths.allSatisfy { $0 > 0.4 && $0 < 1.5 }, "\(lengths)")
        let values = try Operator("aten::linalg_svdvals")(result).array(of: Float.self)
        #expect(values.allSatisfy { $0 > 0.6 && $0 < 1.3 }, "\(values)")
    }

    @Test func muonUpdatesOnlyTheHiddenMatrices() throws {
        var recipe = try TinyRecipe.make()
        recipe.transformer.optimizer.muon = true
        let method = try TinyRecipe.streamMethod(
            recipe,
            clips: ClipMix(recipe.data, seed: recipe.seed),
            vae: TinyRecipe.linearCode.get()
        )
        let network = try TrainedNetwork(
            TinyRecipe.initialTransformer(recipe),
            learnsByMuon: #require(method.roles.first?.training).learnsByMuon
        )
        let byMuon = zip(network.keys, network.optimizer.secondMoments).filter { $0.1 == nil }
            .map(\.0)
        #expect(byMuon.contains("transformer.blocks.0.self_attn.q.weight"))
        #expect(byMuon.contains("transformer.blocks.0.ffn.2.weight"))
        #expect(byMuon.contains("transformer.time_projection.1.weight"))
        for other in ["embedding.0", "head", "text_encoder", "bias", "norm", "patch"] {
            #expect(!byMuon.contains { $0.contains(other) }, "\(other)")
        }
    }
}

private struct MuonConfig: Decodable {
    let learningRate, weightDecay: Double

    private enum CodingKeys: String, CodingKey {
        case learningRate = "learning_rate", weightDecay = "weight_decay"
    }
}

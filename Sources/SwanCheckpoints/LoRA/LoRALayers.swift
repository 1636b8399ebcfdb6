package import SwanSystem
package import Torch
package import TorchNN

/// The layers of a model that a LoRA in training changes, and the shapes of its matrices.
///
/// LoRA, https://arxiv.org/abs/2106.09685: W x becomes W x + (alpha / rank) B A x, with A
/// [rank, inputs] and B [outputs, rank]. Leaves are `<module>.lora_A.weight` and
/// `<module>.lora_B.weight`, with Wan's names of modules.
package struct LoRALayers: Sendable, Equatable {
    /// A matrix that is changed.
    package struct Layer: Sendable, Equatable {
        /// Wan's name of the module.
        package let module: String
        package let outputs, inputs: Int

        var down: String { module + ".lora_A.weight" }
        var up: String { module + ".lora_B.weight" }
    }

    /// The matrices of a block's attention and feed-forward network.
    package static let usualTargets = ["q", "k", "v", "o", "ffn.0", "ffn.2"]
    /// The name of all matrices.
    package static let allLinear = "all-linear"

    package let rank: Int
    /// The scale of the product is alpha / rank.
    package let alpha: Double
    /// The layers, in the order of their names.
    package let layers: [Layer]

    /// Finds the layers of a model.
    ///
    /// - Parameters:
    ///   - model: The weights of a transformer in Wan's names.
    ///   - targets: Names of modules, in Wan's or diffusers' naming: whole ones, or their last
    ///     parts; or `all-linear`.
    /// - Throws: `invalidRecipe` with a target that no matrix has.
    package init(
        of model: any WeightSource,
        targets: [String] = usualTargets,
        rank: Int,
        alpha: Double
    ) throws(SwanError) {
        var matrices: [Layer] = []
        for key in model.keys.sorted() where key.hasSuffix(".weight") {
            guard let shape = try model.shape(key), shape.count == 2 else { continue }
            let module = String(key.dropLast(".weight".count))
            matrices.append(Layer(module: module, outputs: shape[0], inputs: shape[1]))
        }
        for target in targets where !matrices.contains(where: { Self.names($0, target) }) {
            let ends = Set(matrices.map { Self.lastPart(of: $0.module) }).sorted()
            throw SwanError(
                .invalidRecipe,
                "targets: the model has no matrix '\(target.printable())'; it has "
                    + ends.joined(separator: ", ") + ", or use \(Self.allLinear)"
            )
        }
        layers = matrices.filter { layer in targets.contains { Self.names(layer, $0) } }
        self.rank = rank
        self.alpha = alpha
        for layer in layers where rank > min(layer.inputs, layer.outputs) {
            throw SwanError(
                .invalidRecipe,
                "rank: \(rank) is larger than the matrix \(layer.module) "
                    + "[\(layer.outputs), \(layer.inputs)]"
            )
        }
    }

    /// Whether a target means a layer.
    private static func names(_ layer: Layer, _ target: String) -> Bool {
        guard target != allLinear else { return true }
        return [layer.module, TransformerModuleNames.diffusers(layer.module)].contains {
            $0 == target || $0.hasSuffix("." + target)
        }
    }

    /// `q`, or `ffn.0` for a numbered part.
    private static func lastPart(of module: String) -> String {
        let parts = module.split(separator: ".")
        let isNumbered = parts.last.map { Int($0) != nil } ?? false
        return parts.suffix(isNumbered ? 2 : 1).joined(separator: ".")
    }

    /// The number of trained values.
    package var parameterCount: Int {
        layers.reduce(0) { $0 + rank * ($1.inputs + $1.outputs) }
    }

    /// The first leaves: A uniform within 1 / sqrt(inputs), as PyTorch initializes linear layers,
    /// and B zero, so that nothing is changed yet.
    package func start(seed: UInt64) throws(SwanError) -> [String: Tensor] {
        let generator = try Generator(seed: seed)
        var leaves: [String: Tensor] = [:]
        for layer in layers {
            let bound = 1 / Double(layer.inputs).squareRoot()
            let uniform = try Tensor.rand([rank, layer.inputs], generator)
            leaves[layer.down] = try (uniform * 2 - 1) * bound
            leaves[layer.up] = try .zeros([layer.outputs, rank])
        }
        return leaves
    }

    /// The weights of a model with leaves added, which record gradients if the leaves do.
    package func applied(
        _ leaves: [String: Tensor],
        to base: any WeightSource
    ) throws(SwanError) -> any WeightSource {
        let strength = LowRankAddition.Strength(1)
        var additions: [String: LowRankAddition] = [:]
        for layer in layers {
            guard let down = leaves[layer.down], let up = leaves[layer.up] else {
                throw SwanError(.invalidWeights, "there are no leaves for \(layer.module)")
            }
            additions[layer.module + ".weight"] = LowRankAddition(
                down: down,
                up: up,
                factor: alpha / Double(rank),
                strength: strength
            )
        }
        return TrainedLoRAWeights(base: base, own: additions)
    }
}

/// Weights with the additions of a LoRA in training.
private struct TrainedLoRAWeights: WeightSource {
    let base: any WeightSource
    let own: [String: LowRankAddition]

    var keys: [String] { base.keys }

    func shape(_ key: String) throws(SwanError) -> [Int]? { try base.shape(key) }

    func tensor(_ key: String, _ shape: [Int]) throws(SwanError) -> Tensor {
        try base.tensor(key, shape)
    }

    func tensor(
        _ key: String,
        _ shape: [Int],
        for dtype: DType
    ) throws(SwanError) -> Tensor {
        try base.tensor(key, shape, for: dtype)
    }

    func stored(_ key: String, _ shape: [Int]) throws(SwanError) -> StoredWeight {
        try base.stored(key, shape)
    }

    func additions(_ key: String) throws(SwanError) -> [LowRankAddition] {
        let others = try base.additions(key)
        guard let addition = own[key] else { return others }
        return others + [addition]
    }
}

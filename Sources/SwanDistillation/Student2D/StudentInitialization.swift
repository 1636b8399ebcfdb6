import SwanCheckpoints
import SwanModels
import SwanSystem
import Torch
import TorchNN

/// The first weights of a student: random ones, and in their place what fits of its teacher's.
struct StudentInitialization {
    let config: LiteStudentConfig
    let latentChannels: Int
    let projection: StudentSettings.Projection
    let isParity: Bool
    let seed: UInt64
    /// The number of convolutions after the student: one for each rank as published, else one.
    let outputCount: Int

    /// The matrix with orthonormal columns [Z, C] that raises latents; nil if there is nothing to
    /// raise, or if latents are not raised, as published.
    func lift() throws(SwanError) -> Tensor? {
        guard config.channels != latentChannels, !isParity else { return nil }
        guard config.channels < latentChannels else {
            throw SwanError(
                .invalidRecipe,
                "student_config: num_channels is \(config.channels); it must be at most the "
                    + "\(latentChannels) channels of the teacher's autoencoder"
            )
        }
        let random = try Generator(seed: Seed.mixed(seed, 31))
        let square = try Tensor.randn([latentChannels, latentChannels], random, .float64)
        // The eigenvectors of a symmetric matrix are orthonormal.
        let vectors = try (square + square.transposed(0, 1)).symmetricEigen().vectors
        return try vectors.narrowed(1, 0, config.channels).to(.float32).contiguous()
    }

    /// The weights of the student and of what follows it, under the paths of `ProjectedStudent`.
    ///
    /// - Parameter teacher: The transformer whose weights are taken.
    func weights(from teacher: any WeightSource, layers: Int) throws -> [String: Tensor] {
        var weights = try random()
        if let lift = try lift() {
            let key = ProjectedStudent.paths.output
            weights[key + ".weight"] = try lift.unsqueezed(2).unsqueezed(3).contiguous()
            weights[key + ".bias"] = try Tensor.zeros([latentChannels])
        }
        guard projection != .none else { return weights }
        let prefix = ProjectedStudent.paths.student + "."
        for key in weights.keys.sorted() where key.hasPrefix(prefix) {
            guard let shape = weights[key]?.shape else { continue }
            let name = String(key.dropFirst(prefix.count))
            if let taken = try taken(name, shape, teacher, layers) { weights[key] = taken }
        }
        return weights
    }

    /// PyTorch's random weights of its layers.
    private func random() throws -> [String: Tensor] {
        let generator = try Generator(seed: Seed.mixed(seed, 32))
        let source = MadeWeights { key, shape throws(SwanError) in
            if key.hasSuffix("norm1.weight") || key.hasSuffix("norm2.weight") {
                return try .ones(shape)
            }
            let isZero =
                key.contains("norm") || key.hasSuffix("in_proj_bias")
                || key.hasSuffix("out_proj.bias")
            guard !isZero else { return try .zeros(shape) }
            let bound: Double
            if key.hasSuffix("in_proj_weight") {
                // Xavier's bound of the joined matrix.
                bound = (6 / Double(shape[0] + shape[1])).squareRoot()
            } else {
                bound = 1 / Double(fanIn(key, shape)).squareRoot()
            }
            return try Tensor.rand(shape, generator) * (2 * bound) - bound
        }
        let weights = Weights(source)
        _ = try ProjectedStudent(weights, config, latentChannels: latentChannels, lift: nil)
        var made = source.tensors
        for copy in 1..<max(1, outputCount) where config.channels != latentChannels {
            for name in ["weight", "bias"] {
                let key = "\(ProjectedStudent.paths.output).\(name)"
                guard let shape = made[key]?.shape else { continue }
                let bound = 1 / Double(config.channels).squareRoot()
                made["\(ProjectedStudent.paths.output)_\(copy).\(name)"] =
                    try Tensor.rand(shape, generator) * (2 * bound) - bound
            }
        }
        return made
    }

    /// The inputs of the layer that a weight or a bias belongs to.
    private func fanIn(_ key: String, _ shape: [Int]) -> Int {
        guard shape.count == 1 else { return shape.dropFirst().reduce(1, *) }
        let dim = config.hiddenSize
        if key.contains("conv_in") { return 9 * config.channels }
        if key.contains("conv_out") { return 9 * dim }
        if key.contains("output_proj") { return config.channels }
        if key.contains("text_proj") { return config.textDim }
        return key.contains(".2.") ? 4 * dim : dim
    }
}

// MARK: - From the teacher

extension StudentInitialization {
    /// What a student's weight takes from the teacher; nil if there is nothing that fits.
    private func taken(
        _ name: String,
        _ shape: [Int],
        _ teacher: any WeightSource,
        _ layers: Int
    ) throws(SwanError) -> Tensor? {
        let steps = name.split(separator: ".").map(String.init)
        guard steps[0] == "blocks", let block = Int(steps[1]) else {
            return try isParity ? nil : embedding(name, shape, teacher)
        }
        let source = "blocks.\(block * layers / config.depth)"
        let rest = steps.dropFirst(2).joined(separator: ".")
        switch rest {
        case "attn.in_proj_weight":
            return try joined(source, "weight", shape, teacher)
        case "attn.in_proj_bias":
            return try joined(source, "bias", shape, teacher)
        case "attn.out_proj.weight", "attn.out_proj.bias":
            return try fitted("\(source).self_attn.o.\(steps[4])", shape, teacher)
        case "mlp.0.weight", "mlp.0.bias", "mlp.2.weight", "mlp.2.bias":
            return try fitted("\(source).ffn.\(steps[3]).\(steps[4])", shape, teacher)
        default:
            // Norms before attention and feed-forward, if they have weights.
            return try fitted("\(source).\(rest)", shape, teacher)
        }
    }

    /// Queries, keys and values: each cut, then joined. As published they are cut after joining,
    /// so that of a wide teacher only rows of queries arrive.
    private func joined(
        _ source: String,
        _ kind: String,
        _ shape: [Int],
        _ teacher: any WeightSource
    ) throws(SwanError) -> Tensor? {
        var parts: [Tensor] = []
        for letter in ["q", "k", "v"] {
            let key = "\(source).self_attn.\(letter).\(kind)"
            if isParity {
                guard let found = try teacher.shape(key) else { return nil }
                parts.append(try teacher.tensor(key, found).to(.float32))
            } else {
                var own = shape
                own[0] /= 3
                guard let part = try fitted(key, own, teacher) else { return nil }
                parts.append(part)
            }
        }
        let whole = try concatenated(parts)
        return try isParity ? cut(whole, shape) : whole
    }

    /// Embeddings that have the same meaning in both networks.
    private func embedding(
        _ name: String,
        _ shape: [Int],
        _ teacher: any WeightSource
    ) throws(SwanError) -> Tensor? {
        let sources = [
            "text_proj": "text_embedding.0", "time_embed.0": "time_embedding.0",
            "time_embed.2": "time_embedding.2", "conv_in": "patch_embedding",
        ]
        guard let kind = name.split(separator: ".").last,
            let source = sources[String(name.dropLast(kind.count + 1))]
        else { return nil }
        return try fitted("\(source).\(kind)", shape, teacher)
    }

    /// A teacher's weight cut to a shape; nil if it is smaller in any dimension.
    private func fitted(
        _ key: String,
        _ shape: [Int],
        _ teacher: any WeightSource
    ) throws(SwanError) -> Tensor? {
        guard let found = try teacher.shape(key) else { return nil }
        var weight = try teacher.tensor(key, found).to(.float32)
        // Of a kernel over frames, the middle one.
        if weight.rank == 5 { weight = try weight.selected(2, weight.size(2) / 2) }
        guard weight.rank == shape.count, zip(weight.shape, shape).allSatisfy(>=) else {
            return nil
        }
        return try cut(weight, shape)
    }

    /// The first rows and columns; of matrices by the chosen projection. Fewer inputs are made up
    /// for by a factor, so that outputs keep their variance.
    private func cut(_ weight: Tensor, _ shape: [Int]) throws(SwanError) -> Tensor {
        guard weight.shape != shape else { return try weight.cloned() }
        var result = weight
        if weight.rank == 2 {
            switch projection {
            case .svd: result = try approximated(weight, rank: min(shape[0], shape[1]))
            case .average: result = try averaged(weight, columns: shape[1])
            case .truncate, .none: break
            }
        }
        for (dim, size) in shape.enumerated() where size < result.size(dim) {
            // Kernels are cut around their middle.
            let start = dim < 2 ? 0 : (result.size(dim) - size) / 2
            result = try result.narrowed(dim, start, size)
        }
        let isScaled = shape.count > 1 && (shape.count > 2 || projection == .truncate)
        guard isScaled, weight.size(1) > shape[1] else { return try result.contiguous() }
        return try result.contiguous() * (Double(weight.size(1)) / Double(shape[1])).squareRoot()
    }

    /// The closest matrix of a rank: W V Vᵀ with the first right singular vectors, which are
    /// eigenvectors of WᵀW.
    private func approximated(_ weight: Tensor, rank: Int) throws(SwanError) -> Tensor {
        let w = try weight.to(.float64)
        let vectors = try matmul(w.transposed(0, 1), w).symmetricEigen().vectors
        let count = min(rank, vectors.size(1))
        // Eigenvalues are in ascending order.
        let first = try vectors.narrowed(1, vectors.size(1) - count, count)
        return try matmul(matmul(w, first), first.transposed(0, 1)).to(.float32)
    }

    /// Means of neighboring columns; the last mean has the remainder too.
    private func averaged(_ weight: Tensor, columns: Int) throws(SwanError) -> Tensor {
        let size = weight.size(1) / columns
        guard size > 1 || weight.size(1) > columns else { return weight }
        var parts: [Tensor] = []
        for column in 0..<columns {
            let end = column + 1 < columns ? (column + 1) * size : weight.size(1)
            parts.append(
                try weight.narrowed(1, column * size, end - column * size)
                    .mean([1], keepDim: true)
            )
        }
        return try concatenated(parts, dim: 1)
    }
}

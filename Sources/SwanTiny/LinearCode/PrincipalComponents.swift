import SwanSystem
import Torch

/// The directions of greatest variance of channel vectors.
struct PrincipalComponents {
    /// The mean: [C].
    let mean: Tensor
    /// Orthonormal columns, strongest first: [C, K].
    let directions: Tensor

    /// Computes the `count` strongest components of `x` [..., C], or all of them if there are
    /// fewer.
    init(of x: Tensor, count: Int) throws(SwanError) {
        let rows = try x.reshaped(-1, x.size(-1))
        let mean = try rows.mean([0])
        let centered = try rows - mean
        let covariance =
            try matmul(centered.transposed(0, 1), centered) / Double(max(1, rows.size(0)))
        try self.init(mean: mean, covariance: covariance, count: count)
    }

    /// Computes the components of vectors with this mean [C] and covariance [C, C].
    init(mean: Tensor, covariance: Tensor, count: Int) throws(SwanError) {
        self.mean = try mean.to(.float32)
        // In float64, because the variances of weak directions are close to the rounding errors of
        // strong ones.
        let vectors = try covariance.to(.float64).symmetricEigen().vectors
        directions = try vectors.flipped([1]).sliced(1, 0..<min(count, covariance.size(0)))
            .to(.float32).contiguous()
    }

    /// Projects vectors onto the components: [..., C] -> [..., K]
    func coordinates(of x: Tensor) throws(SwanError) -> Tensor {
        try matmul(x - mean, directions)
    }

    /// Reconstructs vectors: [..., K] -> [..., C]
    func vectors(at coordinates: Tensor) throws(SwanError) -> Tensor {
        try matmul(coordinates, directions.transposed(0, 1)) + mean
    }

    /// Returns the coordinates of the mean itself: [K].
    func meanCoordinates() throws(SwanError) -> Tensor {
        try matmul(mean, directions)
    }
}

/// A channel of the code of a pair of frames.
enum PairPart: Equatable {
    /// Half the sum of channel `k`.
    case mean(Int)
    /// Half the difference of channel `k`.
    case difference(Int)

    /// The index of the coded channel.
    var channel: Int {
        switch self {
        case .mean(let k), .difference(let k): k
        }
    }

    /// The factor of the second frame; the first one's is 1.
    var sign: Double {
        switch self {
        case .mean: 1
        case .difference: -1
        }
    }
}

/// The selection of means and differences of frame pairs that a level keeps.
struct PairCode {
    /// The content of each channel.
    let parts: [PairPart]

    /// Selects the `count` strongest parts of `frames` [N, 2 F, H, W, C].
    ///
    /// Channel k holds mean k whenever that is kept, so that it means the same for a video's first
    /// frame, which has no partner and bypasses the layer.
    init(of frames: Tensor, count: Int) throws(SwanError) {
        let channels = frames.size(-1)
        let (first, second) = try Self.pairs(frames)
        let means = try ((first + second) * 0.5).pow(2).mean([0, 1, 2, 3]).array(of: Double.self)
        let differences = try ((first - second) * 0.5).pow(2).mean([0, 1, 2, 3])
            .array(of: Double.self)
        // A difference counts double: it affects both frames, and nothing masks it.
        let strengths = means + differences.map { 2 * $0 }
        let kept = strengths.indices.sorted { (strengths[$0], $1) > (strengths[$1], $0) }
            .prefix(count)
        let keptMeans = Set(kept.filter { $0 < channels })
        var others = keptMeans.filter { $0 >= count }.sorted().map(PairPart.mean)
        others += kept.filter { $0 >= channels }.map { .difference($0 - channels) }
        var parts: [PairPart] = []
        for channel in 0..<min(count, 2 * channels) {
            if keptMeans.contains(channel) {
                parts.append(.mean(channel))
            } else if !others.isEmpty {
                parts.append(others.removeFirst())
            }
        }
        self.parts = parts
    }

    /// Creates a code that passes every channel of single frames unchanged.
    init(channels: Int) { parts = (0..<channels).map(PairPart.mean) }

    /// Encodes pairs of frames: [N, 2 F, H, W, C] -> [N, F, H, W, K]
    func coordinates(of frames: Tensor) throws(SwanError) -> Tensor {
        let (first, second) = try Self.pairs(frames)
        let mean = try (first + second) * 0.5
        let difference = try (first - second) * 0.5
        var channels: [Tensor] = []
        for part in parts {
            switch part {
            case .mean(let k): channels.append(try mean.selected(-1, k))
            case .difference(let k): channels.append(try difference.selected(-1, k))
            }
        }
        return try stacked(channels, dim: -1)
    }

    /// Reconstructs frames as far as possible: [N, F, H, W, K] -> [N, 2 F, H, W, channels].
    func frames(from code: Tensor, channels: Int) throws(SwanError) -> Tensor {
        let back = try Tensor.zeros([2, parts.count, channels])
        for (input, part) in parts.enumerated() {
            var place = try back.selected(1, input).selected(1, part.channel)
            try place.copy(from: Tensor([1, Float(part.sign)], [2]))
        }
        let frames = try back.unbound(0).map { matrix throws(SwanError) in
            try matmul(code, matrix)
        }
        return try stacked(frames, dim: 2).flattened(from: 1, to: 2)
    }

    private static func pairs(_ frames: Tensor) throws(SwanError) -> (Tensor, Tensor) {
        let pairs = try frames.unflattened(1, [frames.size(1) / 2, 2])
        return (try pairs.selected(2, 0), try pairs.selected(2, 1))
    }
}

import Foundation
public import SwanSystem

/// The noise that a diffusion model was trained with, step by step: the betas of DDPM
/// (https://arxiv.org/abs/2006.11239), which a few settings of diffusers' schedulers refer to.
///
/// Computed in float32, as diffusers does.
public struct TrainingNoise: Sendable {
    /// The noise of a step relative to the clean sample, sigma of x0 + sigma noise.
    public let lowest, highest: Double

    /// How betas grow.
    public enum Growth: Sendable, Equatable {
        case linear(Double, Double)
        case scaledLinear(Double, Double)
        case squaredCosine
        case list([Double])
    }

    /// The number of steps of the schedules that are not lists.
    public static let steps = 1_000

    /// Throws `invalidOption` for betas that leave no sample or no noise.
    ///
    /// - Parameter endsInNoise: Whether betas are rescaled so that the last step is pure noise
    ///   (https://arxiv.org/abs/2305.08891, algorithm 1).
    public init(_ growth: Growth, endsInNoise: Bool = false) throws(SwanError) {
        var betas = Self.betas(growth)
        if endsInNoise { betas = Self.rescaled(betas) }
        var products = Self.products(of: betas)
        // The smallest number above 0 of float16, as diffusers has it.
        if endsInNoise, !products.isEmpty { products[products.count - 1] = 0x1p-24 }
        let sigmas = [products.first, products.last].compactMap { product in
            product.map { Double(((1 - $0) / $0).squareRoot()) }
        }
        guard sigmas.count == 2, sigmas.allSatisfy(\.isFinite), 0 < sigmas[0],
            sigmas[0] <= sigmas[1]
        else {
            throw SwanError(.invalidOption, "betas must be above 0 and below 1")
        }
        (lowest, highest) = (sigmas[0], sigmas[1])
    }

    private static func betas(_ growth: Growth) -> [Float] {
        switch growth {
        case .linear(let start, let end):
            return evenlySpaced(from: Float(start), to: Float(end), steps)
        case .scaledLinear(let start, let end):
            let (start, end) = (Float(start.squareRoot()), Float(end.squareRoot()))
            return evenlySpaced(from: start, to: end, steps).map { $0 * $0 }
        case .squaredCosine:
            func left(_ step: Int) -> Double {
                pow(cos((Double(step) / Double(steps) + 0.008) / 1.008 * .pi / 2), 2)
            }
            return (0..<steps).map { Float(min(1 - left($0 + 1) / left($0), 0.999)) }
        case .list(let betas):
            return betas.map(Float.init)
        }
    }

    /// Products of 1 - beta, accumulated in float64.
    private static func products(of betas: [Float]) -> [Float] {
        var product = 1.0
        return betas.map { beta in
            product *= Double(1 - beta)
            return Float(product)
        }
    }

    private static func rescaled(_ betas: [Float]) -> [Float] {
        let roots = products(of: betas).map { $0.squareRoot() }
        guard let first = roots.first, let last = roots.last else { return betas }
        let squares = roots.map { root in
            let moved = (root - last) * (first / (first - last))
            return moved * moved
        }
        let ratios = zip(squares.dropFirst(), squares).map { $0 / $1 }
        return ([squares[0]] + ratios).map { 1 - $0 }
    }
}

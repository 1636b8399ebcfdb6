import Foundation
public import Torch
public import SwanSystem

/// Weights of which some are stored in a low-precision format with a scale factor, as in ComfyUI
/// files: float8, or int8 with a factor for each row.
///
/// Two generations are supported. The older stores `scale_weight` next to `weight`, sometimes
/// `scale_input`, and a marker `scaled_fp8` at the root; the newer stores `weight_scale`, sometimes
/// `input_scale`, and a marker `comfy_quant` that names the format in JSON. Input factors are for
/// hardware that multiplies in float8 and are not needed here.
public struct ScaledWeights: WeightSource {
    private let source: any WeightSource
    /// The key of the factor for the key of a weight.
    private let factors: [String: String]
    /// The keys of all weights.
    public let keys: [String]

    private static let factorNames = ["scale_weight", "weight_scale"]
    private static let markers = ["scale_input", "input_scale", "comfy_quant"]
    private static let rootMarker = "scaled_fp8"
    /// The formats whose weight is the stored values times a factor.
    private static let formats: Set<String> = ["float8_e4m3fn", "float8_e5m2"]

    /// What the keys of formats that cannot be read contain, and the programs that write them.
    private static let unsupported = [
        (".quant_state.bitsandbytes__", "bitsandbytes"), (".wscales", "SVDQuant (Nunchaku)"),
        (".qzeros", "GPTQ or AWQ"),
    ]

    /// Wraps `source` with the factors applied; nil if no weight has a marker.
    ///
    /// Throws `invalidWeights`, naming the key, for an unsupported format.
    public init?(_ source: any WeightSource) throws(SwanError) {
        let all = Set(source.keys)
        var factors: [String: String] = [:]
        var marks: Set<String> = []
        for key in all {
            if let (_, program) = Self.unsupported.first(where: { key.contains($0.0) }) {
                throw SwanError(
                    .invalidWeights,
                    "\(key): weights quantized by \(program) cannot be read; use a file in GGUF, "
                        + "float8 with scales, bfloat16 or float16"
                )
            }
            let (path, name) = Self.split(key)
            let prefix = path.isEmpty ? "" : path + "."
            switch name {
            case Self.rootMarker: marks.insert(key)
            case _ where Self.factorNames.contains(name) && all.contains(prefix + "weight"):
                factors[prefix + "weight"] = key
                marks.insert(key)
            case _ where Self.markers.contains(name) && all.contains(prefix + "weight"):
                if name == "comfy_quant" { try Self.checkFormat(key, source) }
                marks.insert(key)
            default: continue
            }
        }
        guard !marks.isEmpty else { return nil }
        self.source = source
        self.factors = factors
        keys = all.filter { !marks.contains($0) }.sorted()
    }

    /// The shape of the weight under a key; nil if there is no such weight.
    public func shape(_ key: String) throws(SwanError) -> [Int]? { try source.shape(key) }

    /// The weight under a key, in float32 if it has a factor.
    public func tensor(_ key: String, _ shape: [Int]) throws(SwanError) -> Tensor {
        let stored = try stored(key, shape)
        return stored.factor == nil ? stored.values : try stored.weight(.float32)
    }

    /// The weight under a key as stored in the file, with its factor.
    public func stored(_ key: String, _ shape: [Int]) throws(SwanError) -> StoredWeight {
        let stored = try source.stored(key, shape)
        guard let place = factors[key] else { return stored }
        guard stored.factor == nil, let size = try source.shape(place) else {
            throw SwanError(.invalidWeights, "\(key) has two factors")
        }
        let factor = try source.tensor(place, size).to(.float32)
        // Row factors have the shape [rows] or [rows, 1].
        switch factor.count {
        case 1: return StoredWeight(stored.values, factor: try factor.reshaped([]))
        case shape.first where factor.shape.first == factor.count:
            let column = [factor.count] + Array(repeating: 1, count: shape.count - 1)
            return StoredWeight(stored.values, factor: try factor.reshaped(column))
        default:
            throw SwanError(
                .invalidWeights,
                "\(place) is \(size) for a weight of \(shape): a factor must be one number, or one "
                    + "for each row; block factors are not supported"
            )
        }
    }

    /// The low-rank additions to the product with the matrix under a key.
    public func additions(_ key: String) throws(SwanError) -> [LowRankAddition] {
        try source.additions(key)
    }

    private static func split(_ key: String) -> (path: String, name: String) {
        guard let dot = key.lastIndex(of: ".") else { return ("", key) }
        return (String(key[..<dot]), String(key[key.index(after: dot)...]))
    }

    private static func checkFormat(
        _ key: String,
        _ source: any WeightSource
    ) throws(SwanError) {
        struct Mark: Decodable { let format: String }
        let shape = try source.shape(key) ?? []
        guard shape.reduce(1, *) <= 1 << 16 else {
            throw SwanError(
                .invalidWeights,
                "\(key) of shape \(shape) is too long for the name of a format"
            )
        }
        let text = try source.tensor(key, shape).array(of: UInt8.self)
        let format: String
        do {
            format = try JSONDecoder().decode(Mark.self, from: Data(text)).format
        } catch {
            throw SwanError(
                .invalidWeights,
                "\(key) does not name a format: \(error)",
                cause: error
            )
        }
        guard formats.contains(format) else {
            throw SwanError(
                .invalidWeights,
                "\(key): weights in the format \(format) cannot be read; known: "
                    + formats.sorted().joined(separator: ", ")
            )
        }
    }
}

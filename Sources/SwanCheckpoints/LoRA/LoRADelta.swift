import SwanSystem
import Torch
import TorchNN

/// A change of a matrix [outputs, inputs], or of a kernel [outputs, inputs, ...] as a matrix with
/// all other axes in its columns.
enum LoRADelta: Sendable {
    /// LoRA, https://arxiv.org/abs/2106.09685.
    case product(Factor)
    /// LoKr, https://arxiv.org/abs/2309.14859, equation 8: a Kronecker product.
    case kronecker(Factor, Factor)
    /// LoHa, https://arxiv.org/abs/2108.06098: an elementwise product.
    case hadamard(Factor, Factor)

    /// A matrix that is stored whole or as a product, by keys.
    enum Factor: Sendable {
        case whole(String)
        /// `left` [rows, rank] and `right` [rank, columns].
        case product(left: String, right: String)
        /// Tucker's decomposition: `left` [rows, i] or its transpose, `core` [i, j, kernel ...] and
        /// `right` [j, columns].
        case tucker(left: String, core: String, right: String, isLeftTransposed: Bool)
    }

    /// The matrices of a low-rank product, which a layer can add at every call; nil for others.
    var matrices: (down: String, up: String)? {
        guard case .product(.product(let up, let down)) = self else { return nil }
        return (down, up)
    }
}

// MARK: - From keys

extension LoRA.Change {
    /// The roles that make up each kind of change, and those without which it is incomplete.
    private static let kinds: [[LoRA.Role]] = [
        [.down, .up, .mid],
        [.kron1, .kron1A, .kron1B, .kron1T, .kron2, .kron2A, .kron2B, .kron2T],
        [.hada1A, .hada1B, .hada1T, .hada2A, .hada2B, .hada2T],
    ]

    /// The keys that make up the change of the matrix.
    var deltaKeys: [String] { Self.kinds.joined().compactMap { keys[$0] }.sorted() }

    /// The kinds of change that have keys here; more than one contradict each other.
    var kindCount: Int {
        Self.kinds.filter { roles in roles.contains { keys[$0] != nil } }.count
    }

    /// The change of the matrix; nil if keys of it are missing.
    var delta: LoRADelta? {
        if keys[.down] != nil || keys[.up] != nil {
            return lowRank.map(LoRADelta.product)
        }
        if let one = factor(.hada1A, .hada1B, .hada1T), let two = factor(.hada2A, .hada2B, .hada2T)
        {
            return .hadamard(one, two)
        }
        if let one = factor(.kron1A, .kron1B, .kron1T, whole: .kron1),
            let two = factor(.kron2A, .kron2B, .kron2T, whole: .kron2)
        {
            return .kronecker(one, two)
        }
        return nil
    }

    /// What is missing of an incomplete change.
    var missing: String {
        if keys[.down] != nil || keys[.up] != nil {
            return keys[.down] == nil ? "lora_A (lora_down)" : "lora_B (lora_up)"
        }
        let isHada = keys.keys.contains { [.hada1A, .hada1B, .hada2A, .hada2B].contains($0) }
        if isHada { return "hada_w1_a, hada_w1_b, hada_w2_a or hada_w2_b" }
        return keys[.kron1] == nil && (keys[.kron1A] == nil || keys[.kron1B] == nil)
            ? "lokr_w1 (or lokr_w1_a and lokr_w1_b)" : "lokr_w2 (or lokr_w2_a and lokr_w2_b)"
    }

    private var lowRank: LoRADelta.Factor? {
        guard let down = keys[.down], let up = keys[.up] else { return nil }
        guard let mid = keys[.mid] else { return .product(left: up, right: down) }
        return .tucker(left: up, core: mid, right: down, isLeftTransposed: false)
    }

    private func factor(
        _ left: LoRA.Role,
        _ right: LoRA.Role,
        _ core: LoRA.Role,
        whole: LoRA.Role? = nil
    ) -> LoRADelta.Factor? {
        if let whole, let key = keys[whole] { return .whole(key) }
        guard let left = keys[left], let right = keys[right] else { return nil }
        guard let core = keys[core] else { return .product(left: left, right: right) }
        return .tucker(left: left, core: core, right: right, isLeftTransposed: true)
    }
}

// MARK: - Shapes

extension LoRADelta {
    /// The rows and columns of the change; nil if its parts do not fit together.
    func size(in source: any WeightSource) throws(SwanError) -> [Int]? {
        switch self {
        case .product(let factor): return try factor.size(in: source)
        case .kronecker(let one, let two):
            guard let one = try one.size(in: source), let two = try two.size(in: source)
            else { return nil }
            // Shapes without values can be of any size.
            guard let rows = Self.product(one[0], two[0]),
                let columns = Self.product(one[1], two[1])
            else { return nil }
            return [rows, columns]
        case .hadamard(let one, let two):
            let size = try one.size(in: source)
            return try two.size(in: source) == size ? size : nil
        }
    }

    /// The product of two sizes; nil if it is too large for an integer.
    fileprivate static func product(_ a: Int, _ b: Int) -> Int? {
        let (product, overflow) = a.multipliedReportingOverflow(by: b)
        return overflow ? nil : product
    }
}

extension LoRADelta.Factor {
    func size(in source: any WeightSource) throws(SwanError) -> [Int]? {
        func shape(_ key: String) throws(SwanError) -> (first: Int, rest: Int)? {
            guard let shape = try source.shape(key), shape.count > 1 else { return nil }
            return (shape[0], shape.dropFirst().reduce(1, *))
        }
        switch self {
        case .whole(let key): return try shape(key).map { [$0.first, $0.rest] }
        case .product(let left, let right):
            guard let left = try shape(left), let right = try shape(right),
                left.rest == right.first
            else { return nil }
            return [left.first, right.rest]
        case .tucker(let left, let core, let right, let isTransposed):
            guard let left = try shape(left), let right = try shape(right),
                let core = try source.shape(core), core.count > 2
            else { return nil }
            let (rows, rank) = isTransposed ? (left.rest, left.first) : (left.first, left.rest)
            guard core[0] == rank, core[1] == right.first else { return nil }
            let kernel = core.dropFirst(2).reduce(1, *)
            return LoRADelta.product(right.rest, kernel).map { [rows, $0] }
        }
    }
}

// MARK: - Values

extension LoRADelta {
    /// The change [rows, columns] in float32.
    func matrix(of lora: LoRA) throws(SwanError) -> Tensor {
        switch self {
        case .product(let factor): return try factor.matrix(of: lora)
        case .hadamard(let one, let two):
            return try one.matrix(of: lora) * two.matrix(of: lora)
        case .kronecker(let one, let two):
            let (a, b) = (try one.matrix(of: lora), try two.matrix(of: lora))
            let rows = [a.size(0), 1, a.size(1), 1]
            let product = try a.reshaped(rows) * b.reshaped([1, b.size(0), 1, b.size(1)])
            return try product.reshaped(a.size(0) * b.size(0), a.size(1) * b.size(1))
        }
    }
}

extension LoRADelta.Factor {
    /// The matrix [rows, columns] in float32.
    func matrix(of lora: LoRA) throws(SwanError) -> Tensor {
        switch self {
        case .whole(let key): return try lora.tensor(key).flattened(from: 1)
        case .product(let left, let right):
            return try matmul(
                lora.tensor(left).flattened(from: 1),
                lora.tensor(right).flattened(from: 1)
            )
        case .tucker(let left, let core, let right, let isTransposed):
            let outer = try lora.tensor(left).flattened(from: 1)
            let rows = isTransposed ? try outer.transposed(0, 1) : outer  // [p, i]
            let middle = try lora.tensor(core).flattened(from: 2)  // [i, j, k]
            let (j, k) = (middle.size(1), middle.size(2))
            let half = try matmul(rows, middle.reshaped(middle.size(0), j * k))
                .reshaped(rows.size(0), j, k)
            let columns = try lora.tensor(right).flattened(from: 1)  // [j, r]
            return try matmul(half.permuted(0, 2, 1), columns).permuted(0, 2, 1)
                .reshaped(rows.size(0), columns.size(1) * k)
        }
    }
}

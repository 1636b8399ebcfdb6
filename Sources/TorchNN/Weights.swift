import Synchronization
public import Torch
public import SwanSystem

/// Waits for weights whose reading has started.
public typealias StartedWeights = @Sendable () throws(SwanError) -> any WeightSource

/// A source of a model's weights: a file, memory, or a rule that generates them.
public protocol WeightSource: Sendable {
    /// All keys; empty for a source that generates whatever is requested.
    var keys: [String] { get }
    /// The shape of the tensor under a key; nil if there is no such key.
    func shape(_ key: String) throws(SwanError) -> [Int]?
    /// The tensor under a key; `shape` is what the model expects.
    func tensor(_ key: String, _ shape: [Int]) throws(SwanError) -> Tensor
    /// The same, for a computation in `dtype`, to which it need not be converted.
    func tensor(_ key: String, _ shape: [Int], for dtype: DType) throws(SwanError) -> Tensor
    /// The tensor as stored in its file, for a layer that converts it at every use.
    func stored(_ key: String, _ shape: [Int]) throws(SwanError) -> StoredWeight
    /// The low-rank additions to a layer's product with the matrix under a key.
    func additions(_ key: String) throws(SwanError) -> [LowRankAddition]
    /// Whether the source generates a weight for any requested key and shape.
    var generatesTensors: Bool { get }
    /// The weights under a path, which are about to be read for a computation in `dtype`.
    func together(_ path: String, for dtype: DType) throws(SwanError) -> any WeightSource
    /// Starts to read the weights under a path for a computation in `dtype`, and returns a function
    /// that waits for them; nil if they are read when they are asked for.
    func started(_ path: String, for dtype: DType) throws(SwanError) -> StartedWeights?
    /// A source with the same keys and shapes for finding out whether they fit a model, whose
    /// tensors are not used.
    var outline: any WeightSource { get }
}

extension WeightSource {
    /// By default, a source has a fixed set of weights.
    public var generatesTensors: Bool { false }

    /// By default, a source reads tensors whatever the computation's dtype is.
    public func tensor(
        _ key: String,
        _ shape: [Int],
        for dtype: DType
    ) throws(SwanError) -> Tensor {
        try tensor(key, shape)
    }

    /// By default, weights are read one by one.
    public func together(
        _ path: String,
        for dtype: DType
    ) throws(SwanError) -> any WeightSource {
        self
    }

    /// By default, weights are read when they are asked for.
    public func started(_ path: String, for dtype: DType) throws(SwanError) -> StartedWeights? {
        nil
    }

    /// By default, reading costs so little that the source itself is used.
    public var outline: any WeightSource { self }

    /// By default, weights are stored as they are.
    public func stored(_ key: String, _ shape: [Int]) throws(SwanError) -> StoredWeight {
        StoredWeight(try tensor(key, shape))
    }

    /// By default, nothing is added to a matrix.
    public func additions(_ key: String) throws(SwanError) -> [LowRankAddition] { [] }
}

/// A path into a checkpoint.
///
/// Layers look up their weights by `weights["blocks"][3]["ffn"]`. A key that is missing or has the
/// wrong shape does not stop construction: `finish()` reports all of them at once, together with
/// the unused keys.
public struct Weights: Sendable {
    private var source: any WeightSource
    private let ledger: Ledger
    /// The path so far, without a trailing dot.
    public private(set) var path: String
    /// The dtype of the computation; floating-point weights are converted to it.
    public private(set) var dtype: DType
    /// The device that weights are moved to.
    public private(set) var device: Device
    /// Whether the matrices of layers stay as stored and are converted at every call.
    ///
    /// A mapped checkpoint then takes no more memory than its file, whatever the dtype of the
    /// computation.
    public private(set) var keepsStorage: Bool
    /// Whether each layer of a `LayerStack` is read when its turn comes instead of being held in
    /// memory.
    public let readsLayersLate: Bool

    /// Creates the root of a checkpoint.
    public init(
        _ source: any WeightSource,
        dtype: DType = .float32,
        device: Device = .cpu,
        keepsStorage: Bool = false,
        readsLayersLate: Bool = false
    ) {
        self.source = source
        ledger = Ledger()
        path = ""
        self.dtype = dtype
        self.device = device
        self.keepsStorage = keepsStorage
        self.readsLayersLate = readsLayersLate
    }

    /// Descends one step down the path.
    public subscript(_ name: String) -> Weights {
        var step = self
        step.path = full(name)
        return step
    }

    /// Descends one step down the path, for numbered layers.
    public subscript(_ index: Int) -> Weights { self[String(index)] }

    /// The same path, with weights in a different dtype.
    public func converted(to dtype: DType) -> Weights {
        var converted = self
        converted.dtype = dtype
        return converted
    }

    /// The shape of `name` at this path; nil if the checkpoint has none, or generates any weight.
    public func shape(_ name: String) throws(SwanError) -> [Int]? {
        try source.shape(full(name))
    }

    /// The same path, with all weights under it about to be read.
    func together() throws(SwanError) -> Weights {
        var read = self
        read.source = try source.together(path, for: dtype)
        return read
    }

    /// Starts to read all weights under this path, and returns a function that waits for them; nil
    /// if they are read when they are asked for.
    func started() throws(SwanError) -> (() throws(SwanError) -> Weights)? {
        guard let wait = try source.started(path, for: dtype) else { return nil }
        return { () throws(SwanError) in
            var read = self
            read.source = try wait()
            return read
        }
    }

    /// The same path, with weights as stored in their files: for inspection, not for computation.
    func asStored() -> Weights {
        var stored = self
        stored.source = source.outline
        // No dtype is wider than float64, so nothing is converted.
        (stored.device, stored.keepsStorage, stored.dtype) = (.cpu, true, .float64)
        return stored
    }

    /// Whether the checkpoint has `name` at this path.
    public func has(_ name: String) throws(SwanError) -> Bool {
        try source.shape(full(name)) != nil
    }

    /// Marks the weights at this path as used by another instance of the model, so that `finish()`
    /// does not report them as unused.
    func leaveOut() { ledger.leaveOut(path) }

    /// The tensor `name` at this path, in `dtype` on `device`.
    ///
    /// If the key is missing or has the wrong shape, zeros are returned in its place, and
    /// `finish()` throws.
    public func tensor(_ name: String, _ shape: [Int]) throws(SwanError) -> Tensor {
        let key = full(name)
        guard try fits(key, shape) else { return try standIn(shape) }
        let tensor = try source.tensor(key, shape, for: dtype)
        guard isWeight(tensor.dtype, key) else { return try standIn(shape) }
        return try tensor.to(device, dtype)
    }

    /// The tensor `name` at this path as stored, on `device`; otherwise like `tensor`.
    func stored(_ name: String, _ shape: [Int]) throws(SwanError) -> StoredWeight {
        let key = full(name)
        guard try fits(key, shape) else { return StoredWeight(try standIn(shape)) }
        let stored = try source.stored(key, shape)
        // Integers with a factor are numbers of another kind: int8 with a scale for each row.
        guard stored.factor != nil || isWeight(stored.dtype, key) else {
            return StoredWeight(try standIn(shape))
        }
        guard stored.values.dtype.size > dtype.size else { return try stored.to(device) }
        // If wider than the computation's dtype, it would take more memory stored than converted.
        return StoredWeight(try stored.weight(dtype).to(device))
    }

    /// The low-rank additions to a layer's product with the matrix `name`, in `dtype` on `device`.
    func additions(_ name: String) throws(SwanError) -> [LowRankAddition] {
        try source.additions(full(name)).map { product throws(SwanError) in
            try product.to(device, dtype)
        }
    }

    /// Whether a key exists with the shape that the model needs; records the problem if not.
    private func fits(_ key: String, _ shape: [Int]) throws(SwanError) -> Bool {
        ledger.ask(key)
        guard let found = try source.shape(key) ?? (source.generatesTensors ? shape : nil) else {
            ledger.note("missing", "\(key) \(shape)")
            return false
        }
        guard found == shape else {
            ledger.note("wrong shape", "\(key) is \(found), the model needs \(shape)")
            return false
        }
        return true
    }

    /// Whether a weight is of a floating-point dtype; records the problem if not.
    private func isWeight(_ dtype: DType, _ key: String) -> Bool {
        if !dtype.isFloatingPoint {
            ledger.note("wrong dtype", "\(key) is \(dtype), the model needs floating-point numbers")
        }
        return dtype.isFloatingPoint
    }

    /// Throws one error that names every key that is missing, unused, of the wrong shape or not
    /// floating-point.
    ///
    /// - Parameter ignoring: Whether an unused key is known not to be needed.
    public func finish(ignoring: (String) -> Bool = { _ in false }) throws(SwanError) {
        let (asked, problems) = ledger.read()
        let prefix = path.isEmpty ? "" : path + "."
        var all = problems
        for key in source.keys.sorted()
        where key.hasPrefix(prefix) && !asked.contains(key) && !ledger.leavesOut(key)
            && !ignoring(key)
        {
            all.append(("unused", key))
        }
        guard !all.isEmpty else { return }
        throw SwanError(.invalidWeights, Self.report(all))
    }

    private static func report(_ problems: [(kind: String, what: String)]) -> String {
        let shown = 12
        var lines: [String] = []
        for kind in ["missing", "wrong shape", "wrong dtype", "unused"] {
            let group = problems.filter { $0.kind == kind }.map(\.what)
            guard !group.isEmpty else { continue }
            lines.append("\(group.count) \(kind):")
            lines += group.prefix(shown).map { "  " + $0 }
            if group.count > shown { lines.append("  and \(group.count - shown) more") }
        }
        return "the weights do not fit the model\n" + lines.joined(separator: "\n")
    }

    private func full(_ name: String) -> String { path.isEmpty ? name : path + "." + name }

    /// Zeros in place of a missing weight, so that all problems are found at once.
    ///
    /// Layers may copy them. If the zeros would need more memory than the checkpoint itself, it
    /// belongs to a different model, and the problems found so far are thrown.
    private func standIn(_ shape: [Int]) throws(SwanError) -> Tensor {
        let count = shape.reduce(1, *)
        let smallest = 1 << 24
        if count > smallest - ledger.standIns {
            var elements = 0
            for key in source.keys { elements += try source.shape(key)?.reduce(1, *) ?? 0 }
            guard count <= max(smallest, elements) - ledger.standIns else {
                throw SwanError(.invalidWeights, Self.report(ledger.read().1))
            }
        }
        ledger.countStandIn(count)
        return try Tensor.zeros([], dtype, device).expanded(shape)
    }
}

/// A record of what was requested from a checkpoint while a model was built.
private final class Ledger: Sendable {
    private struct State {
        var asked: Set<String> = []
        var problems: [(kind: String, what: String)] = []
        var standIns = 0
        /// The paths whose weights are for other instances of the model.
        var leftOut: Set<String> = []
    }
    private let state = Mutex(State())

    /// The number of elements in the zeros that replace missing weights.
    var standIns: Int { state.withLock { $0.standIns } }

    func countStandIn(_ count: Int) { state.withLock { $0.standIns += count } }

    func leaveOut(_ path: String) { _ = state.withLock { $0.leftOut.insert(path) } }

    /// Whether a key is under a path that was left out.
    func leavesOut(_ key: String) -> Bool {
        let leftOut = state.withLock { $0.leftOut }
        return !leftOut.isEmpty
            && key.indices.contains { key[$0] == "." && leftOut.contains(String(key[..<$0])) }
    }

    func ask(_ key: String) { _ = state.withLock { $0.asked.insert(key) } }

    func note(_ kind: String, _ what: String) {
        state.withLock { $0.problems.append((kind, what)) }
    }

    func read() -> (Set<String>, [(kind: String, what: String)]) {
        state.withLock { ($0.asked, $0.problems) }
    }
}

// MARK: - Sources in memory

/// Weights in a dictionary.
public struct DictionaryWeights: WeightSource {
    private let tensors: [String: Tensor]

    /// Creates a source of weights under their full keys.
    public init(_ tensors: [String: Tensor]) { self.tensors = tensors }

    /// Every key there is.
    public var keys: [String] { Array(tensors.keys) }

    /// The shape of the tensor under a key; nil if there is no such key.
    public func shape(_ key: String) -> [Int]? { tensors[key]?.shape }

    /// The tensor under a key.
    public func tensor(_ key: String, _ shape: [Int]) throws(SwanError) -> Tensor {
        guard let tensor = tensors[key] else {
            throw SwanError(.invalidWeights, "there is no weight \(key)")
        }
        return tensor
    }
}

/// Weights that a rule generates on demand: random ones for benchmarks and training.
///
/// The same key always returns the same tensor.
public final class MadeWeights: WeightSource {
    private let rule: @Sendable (_ key: String, _ shape: [Int]) throws(SwanError) -> Tensor
    private let made = Mutex<[String: Tensor]>([:])

    /// Creates a source of weights generated by `rule` from a key and a shape.
    public init(
        _ rule: @escaping @Sendable (_ key: String, _ shape: [Int]) throws(SwanError) -> Tensor
    ) {
        self.rule = rule
    }

    /// Normal random numbers with a standard deviation of one over the square root of the fan-in;
    /// ones for norms.
    public static func random(seed: UInt64 = 0) throws(SwanError) -> MadeWeights {
        let generator = try Generator(seed: seed)
        let drawing = Mutex(())
        return MadeWeights { key, shape throws(SwanError) in
            let fanIn = shape.count > 1 ? shape.dropFirst().reduce(1, *) : 0
            guard fanIn > 0 else {
                let norm = key.hasSuffix("gamma") || key.contains("norm") && key.hasSuffix("weight")
                return try norm ? .ones(shape) : .zeros(shape)
            }
            return try drawing.withLock { _ throws(SwanError) in
                try Tensor.randn(shape, generator) * (1 / Double(fanIn).squareRoot())
            }
        }
    }

    /// The keys generated so far.
    public var keys: [String] { made.withLock { Array($0.keys) } }

    /// A rule generates any weight that is requested.
    public var generatesTensors: Bool { true }

    /// The shape of the tensor under a key; nil if there is none.
    public func shape(_ key: String) -> [Int]? {
        // A rule fits whatever the model needs; only generated weights have a fixed shape.
        made.withLock { $0[key]?.shape } ?? nil
    }

    /// The tensor under a key.
    public func tensor(_ key: String, _ shape: [Int]) throws(SwanError) -> Tensor {
        if let tensor = made.withLock({ $0[key] }) { return tensor }
        let tensor = try rule(key, shape)
        made.withLock { $0[key] = tensor }
        return tensor
    }

    /// All tensors generated so far, under their full keys.
    public var tensors: [String: Tensor] { made.withLock { $0 } }
}

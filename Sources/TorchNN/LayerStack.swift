import Torch
public import SwanSystem

/// Layers of one kind that run in sequence: all in memory, or each read when its turn comes.
///
/// `Weights.readsLayersLate` selects which. If read late, a layer is in memory only while it runs;
/// on a GPU the next one is copied at the same time, on the side stream. A source that can start
/// to read, such as other processes, is asked for the next layer before each one runs.
public struct LayerStack<Layer: Sendable>: Sendable {
    /// The number of layers.
    public let count: Int
    /// The layers that this instance holds.
    public let held: Range<Int>
    private let source: Source

    private enum Source: Sendable {
        /// The layers in `held`.
        case held([Layer])
        case read(Reader)
    }

    private struct Reader: Sendable {
        let weights: Weights
        let make: @Sendable (Weights) throws(SwanError) -> Layer

        func layer(_ index: Int) throws(SwanError) -> Layer {
            try make(weights[index].together())
        }
    }

    /// Loads the layers under a path, by their indices.
    ///
    /// - Parameter range: The layers that this instance holds, nil for all. The weights of the
    ///   others are not read, and `Weights.finish()` does not report their keys as unused.
    public init(
        _ weights: Weights,
        count: Int,
        holding range: Range<Int>? = nil,
        _ make: @escaping @Sendable (Weights) throws(SwanError) -> Layer
    ) throws(SwanError) {
        let held = range ?? 0..<count
        guard held.lowerBound >= 0, held.upperBound <= count else {
            throw SwanError(
                .invalidArgument,
                "no layers \(held) in the \(count) of \(weights.path)"
            )
        }
        self.count = count
        self.held = held
        // Layers to be read late are created once from the stored weights, to check that these fit.
        let first = weights.readsLayersLate ? weights.asStored() : weights
        var layers: [Layer] = []
        for index in 0..<count {
            guard held.contains(index) else {
                weights[index].leaveOut()
                continue
            }
            let layer = try make(first[index])
            if !weights.readsLayersLate { layers.append(layer) }
        }
        source =
            weights.readsLayersLate
            ? .read(Reader(weights: weights, make: make)) : .held(layers)
    }

    private init(count: Int, held: Range<Int>, source: Source) {
        (self.count, self.held, self.source) = (count, held, source)
    }

    /// A stack of the same layers that holds `range`: its own layers and those of `others`.
    ///
    /// - Throws: `invalidArgument` if none of them holds a layer of the range.
    package func holding(
        _ range: Range<Int>,
        with others: [LayerStack]
    ) throws(SwanError) -> LayerStack {
        guard case .held = source else {
            return LayerStack(count: count, held: range, source: source)
        }
        var layers: [Layer] = []
        for index in range {
            guard let owner = ([self] + others).first(where: { $0.held.contains(index) }) else {
                throw SwanError(.invalidArgument, "layer \(index) of \(range) was not loaded")
            }
            layers.append(try owner.layer(index))
        }
        return LayerStack(count: count, held: range, source: .held(layers))
    }

    /// Returns one layer, out of sequence.
    public func layer(_ index: Int) throws(SwanError) -> Layer {
        try check(index..<index + 1)
        switch source {
        case .held(let layers): return layers[index - held.lowerBound]
        case .read(let reader): return try reader.layer(index)
        }
    }

    /// Calls `body` with each layer of a range in order; nil for all that this instance holds.
    public func forEach(
        in range: Range<Int>? = nil,
        _ body: (_ index: Int, Layer) throws(SwanError) -> Void
    ) throws(SwanError) {
        let range = range ?? held
        try check(range)
        switch source {
        case .held(let layers):
            for index in range { try body(index, layers[index - held.lowerBound]) }
        case .read(let reader):
            if try forEachStarted(reader, range, body) { return }
            guard reader.weights.device == .cpu else {
                return try forEachAhead(reader, range, body)
            }
            for index in range { try body(index, reader.layer(index)) }
        }
    }

    /// Returns a function that returns one layer, or a part of it, whenever it is called.
    ///
    /// In a region that is `recomputed`, a layer that is read late is then in memory only while the
    /// region runs, both times.
    ///
    /// - Parameters:
    ///   - path: The part's path from the layer's.
    ///   - part: The part of a layer.
    ///   - read: Reads the part alone, from the weights under its path.
    public func deferred<Part: Sendable>(
        _ index: Int,
        _ path: String,
        part: @escaping @Sendable (Layer) -> Part,
        read: @escaping @Sendable (Weights) throws(SwanError) -> Part
    ) throws(SwanError) -> @Sendable () throws(SwanError) -> Part {
        try check(index..<index + 1)
        switch source {
        case .held(let layers):
            let layer = layers[index - held.lowerBound]
            return { () throws(SwanError) in part(layer) }
        case .read(let reader):
            return { () throws(SwanError) in try read(reader.weights[index][path].together()) }
        }
    }

    /// The same for whole layers.
    public func deferred(
        _ index: Int
    ) throws(SwanError) -> @Sendable () throws(SwanError) -> Layer {
        try check(index..<index + 1)
        switch source {
        case .held(let layers):
            let layer = layers[index - held.lowerBound]
            return { () throws(SwanError) in layer }
        case .read(let reader):
            return { () throws(SwanError) in try reader.layer(index) }
        }
    }

    private func check(_ range: Range<Int>) throws(SwanError) {
        guard held.lowerBound <= range.lowerBound, range.upperBound <= held.upperBound else {
            throw SwanError(
                .invalidArgument,
                "layers \(range) are requested; this instance of the network holds \(held)"
            )
        }
    }

    /// The same, with the next layer started before each runs: on this thread, since processes must
    /// start their exchanges in the same order. False if the source cannot start to read.
    private func forEachStarted(
        _ reader: Reader,
        _ range: Range<Int>,
        _ body: (Int, Layer) throws(SwanError) -> Void
    ) throws(SwanError) -> Bool {
        guard let first = range.first else { return true }
        var next = try reader.weights[first].started()
        guard next != nil else { return false }
        for index in range {
            let layer: Layer
            if let wait = next {
                layer = try reader.make(wait())
            } else {
                layer = try reader.layer(index)
            }
            next = nil
            if index + 1 < range.upperBound { next = try reader.weights[index + 1].started() }
            try body(index, layer)
        }
        return true
    }

    /// The same, with the next layer read on another thread.
    private func forEachAhead(
        _ reader: Reader,
        _ range: Range<Int>,
        _ body: (Int, Layer) throws(SwanError) -> Void
    ) throws(SwanError) {
        guard !range.isEmpty else { return }
        let device = reader.weights.device
        let ahead = try ReadAhead<Layer>(device)
        defer { ahead.stop() }
        func read(_ index: Int) throws(SwanError) {
            // The memory of an earlier layer may be reused only after that layer has finished.
            let mark = try StreamMark(device)
            ahead.start { () throws(SwanError) in
                try mark.wait()
                return try reader.layer(index)
            }
        }
        try read(range.lowerBound)
        for index in range {
            let layer = try ahead.take()
            if index + 1 < range.upperBound { try read(index + 1) }
            try body(index, layer)
        }
    }
}

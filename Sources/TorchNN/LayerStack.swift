import Torch
public import SwanSystem

/// Layers of one kind that run one after another: all in memory, or each read when its turn comes.
///
/// Which of the two is said by `Weights.readsLayersLate`. Read late, a layer is in memory while it
/// works; on a GPU the next one is copied at the same time, on the side stream.
public struct LayerStack<Layer: Sendable>: Sendable {
    /// How many layers there are.
    public let count: Int
    /// The layers that this instance has.
    public let held: Range<Int>
    private let source: Source

    private enum Source: Sendable {
        /// The layers of `held`.
        case held([Layer])
        case read(Reader)
    }

    private struct Reader: Sendable {
        let weights: Weights
        let make: @Sendable (Weights) throws(SwanError) -> Layer

        func layer(_ index: Int) throws(SwanError) -> Layer { try make(weights[index]) }
    }

    /// The layers under a path, by their numbers.
    ///
    /// - Parameter range: the layers that this instance has, nil for all. Of the others no weight is
    ///   read, and `Weights.finish()` does not report their keys as unused.
    public init(
        _ weights: Weights,
        count: Int,
        holding range: Range<Int>? = nil,
        _ make: @escaping @Sendable (Weights) throws(SwanError) -> Layer
    ) throws(SwanError) {
        let held = range ?? 0..<count
        guard held.lowerBound >= 0, held.upperBound <= count else {
            throw SwanError(.invalidArgument, "layers \(held) of \(count) under \(weights.path)")
        }
        self.count = count
        self.held = held
        // To be read late, they are made once where they lie, which shows whether their weights fit.
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

    /// One layer, out of their order.
    public func layer(_ index: Int) throws(SwanError) -> Layer {
        try check(index..<index + 1)
        switch source {
        case .held(let layers): return layers[index - held.lowerBound]
        case .read(let reader): return try reader.layer(index)
        }
    }

    /// Calls `body` with every layer of a range, in their order; nil for all that this instance has.
    public func forEach(
        in range: Range<Int>? = nil,
        _ body: (_ index: Int, Layer) throws(SwanError) -> Void
    ) throws(SwanError) {
        let range = range ?? held
        try check(range)
        switch source {
        case .held(let layers):
            for index in range { try body(index, layers[index - held.lowerBound]) }
        case .read(let reader) where reader.weights.device == .cpu:
            for index in range { try body(index, reader.layer(index)) }
        case .read(let reader):
            try forEachAhead(reader, range, body)
        }
    }

    private func check(_ range: Range<Int>) throws(SwanError) {
        guard held.lowerBound <= range.lowerBound, range.upperBound <= held.upperBound else {
            throw SwanError(
                .invalidArgument,
                "layers \(range) are asked for; this instance of the network has \(held)"
            )
        }
    }

    /// The same, the next layer being read on another thread.
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
            // Memory of an earlier layer may be used again only after that layer's work.
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

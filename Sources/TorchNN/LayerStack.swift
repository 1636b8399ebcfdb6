import Dispatch
import Synchronization
import Torch

/// Layers of one kind that run one after another: all in memory, or each read when its turn comes.
///
/// Which of the two is said by `Weights.readsLayersLate`. Read late, a layer is in memory while it
/// works; on a GPU the next one is copied meanwhile, on a stream of its own.
public struct LayerStack<Layer: Sendable>: Sendable {
    /// How many layers there are.
    public let count: Int
    private let source: Source

    private enum Source: Sendable {
        case held([Layer])
        case read(Reader)
    }

    private struct Reader: Sendable {
        let weights: Weights
        let make: @Sendable (Weights) throws(TorchError) -> Layer

        func layer(_ index: Int) throws(TorchError) -> Layer { try make(weights[index]) }
    }

    /// The layers under a path, by their numbers.
    public init(
        _ weights: Weights,
        count: Int,
        _ make: @escaping @Sendable (Weights) throws(TorchError) -> Layer
    ) throws(TorchError) {
        self.count = count
        // To be read late, they are made once where they lie, which shows whether their weights fit.
        let first = weights.readsLayersLate ? weights.asStored() : weights
        var layers: [Layer] = []
        for index in 0..<count {
            let layer = try make(first[index])
            if !weights.readsLayersLate { layers.append(layer) }
        }
        source =
            weights.readsLayersLate
            ? .read(Reader(weights: weights, make: make)) : .held(layers)
    }

    /// One layer, out of their order.
    public func layer(_ index: Int) throws(TorchError) -> Layer {
        switch source {
        case .held(let layers): layers[index]
        case .read(let reader): try reader.layer(index)
        }
    }

    /// Calls `body` with every layer of a range, in their order.
    public func forEach(
        in range: Range<Int>? = nil,
        _ body: (_ index: Int, Layer) throws(TorchError) -> Void
    ) throws(TorchError) {
        let range = range ?? 0..<count
        switch source {
        case .held(let layers):
            for index in range { try body(index, layers[index]) }
        case .read(let reader) where reader.weights.device == .cpu:
            for index in range { try body(index, reader.layer(index)) }
        case .read(let reader):
            try forEachAhead(reader, range, body)
        }
    }

    /// The same, the next layer being read on another thread.
    private func forEachAhead(
        _ reader: Reader,
        _ range: Range<Int>,
        _ body: (Int, Layer) throws(TorchError) -> Void
    ) throws(TorchError) {
        guard !range.isEmpty else { return }
        let device = reader.weights.device
        let ahead = ReadAhead<Layer>(device)
        func read(_ index: Int) throws(TorchError) {
            // Memory of an earlier layer may be used again only after that layer's work.
            let mark = try StreamMark(device)
            ahead.start { () throws(TorchError) in
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

/// One thing that is made on another thread, and a device's stream of its own, while the caller goes on.
private final class ReadAhead<Value: Sendable>: Sendable {
    private struct Outcome: Sendable {
        var result: Result<(Value, StreamMark), TorchError>?
    }

    private let device: Device
    private let outcome = Mutex(Outcome())
    private let done = DispatchSemaphore(value: 0)
    private let queue = DispatchQueue(label: "swan.layers")

    init(_ device: Device) { self.device = device }

    func start(_ make: @escaping @Sendable () throws(TorchError) -> Value) {
        queue.async { [self] in
            let result = Result { () throws(TorchError) in
                try inference { () throws(TorchError) in
                    try device.onSideStream { () throws(TorchError) in
                        let value = try make()
                        return (value, try StreamMark(device))
                    }
                }
            }
            outcome.withLock { $0.result = result }
            done.signal()
        }
    }

    /// Waits for what was started; what the caller asks of the device then comes after it.
    func take() throws(TorchError) -> Value {
        done.wait()
        let result = outcome.withLock { outcome in
            defer { outcome.result = nil }
            return outcome.result
        }
        guard let result else {
            throw TorchError(.invalidArgument, "a layer is taken that nobody reads")
        }
        let (value, mark) = try result.get()
        try mark.wait()
        return value
    }
}

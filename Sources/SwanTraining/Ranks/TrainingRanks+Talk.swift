import Foundation
import SwanDistributed
package import SwanSystem
import Torch

/// What ranks tell each other between steps. All of them call the same functions in the same order,
/// on one thread.
extension TrainingRanks {
    /// Returns the texts of all ranks in order.
    func gathered(_ text: String) throws(SwanError) -> [String] {
        let group = world.group
        let bytes = Array(text.utf8)
        let lengths = try Tensor.zeros([group.size], .int64)
        try group.startGather(Tensor([bytes.count], [1]), into: lengths).wait()
        let counts = try lengths.array(of: Int.self)
        let longest = max(1, counts.max() ?? 0)
        let padded = bytes + [UInt8](repeating: 0, count: longest - bytes.count)
        let all = try Tensor.zeros([group.size * longest], .uint8)
        try group.startGather(Tensor(padded, [longest]), into: all).wait()
        let values = try all.array(of: UInt8.self)
        return counts.enumerated().map { rank, count in
            String(decoding: values[rank * longest..<rank * longest + count], as: UTF8.self)
        }
    }

    /// Returns the values of all ranks in order.
    func gathered<Value: Codable>(values value: Value) throws -> [Value] {
        let encoder = JSONEncoder()
        encoder.nonConformingFloatEncodingStrategy = Self.words.encoding
        let decoder = JSONDecoder()
        decoder.nonConformingFloatDecodingStrategy = Self.words.decoding
        let text = String(decoding: try encoder.encode(value), as: UTF8.self)
        return try gathered(text).map { try decoder.decode(Value.self, from: Data($0.utf8)) }
    }

    private static let words:
        (
            encoding: JSONEncoder.NonConformingFloatEncodingStrategy,
            decoding: JSONDecoder.NonConformingFloatDecodingStrategy
        ) = (
            .convertToString(positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan"),
            .convertFromString(positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
        )

    /// Throws `peersDiffer` unless all ranks have the same text.
    ///
    /// - Parameters:
    ///   - what: The name of what the text says, for the message.
    ///   - remedy: What to do about a difference.
    package func requireSame(
        _ what: String,
        _ text: String,
        remedy: String
    ) throws(SwanError) {
        let texts = try gathered(text)
        guard let other = texts.firstIndex(where: { $0 != texts[0] }) else { return }
        throw SwanError(
            .peersDiffer,
            "\(what) differs: \(texts[0].printable()) on rank 0, \(texts[other].printable()) on rank "
                + "\(other); \(remedy)"
        )
    }

    /// Runs `body` on the first rank while the others wait, however long it takes; returns nil on
    /// the others.
    package func alone<Result>(_ body: () throws -> Result) throws -> Result? {
        guard isFirst else {
            let isDone = try Tensor.zeros([1])
            while try isDone.item() == 0 { try world.group.broadcast(isDone, from: 0) }
            return nil
        }
        // An operation of the group has a deadline, so the others are told to go on waiting.
        let signs = WaitingSigns(world.group)
        try signs.start()
        do {
            let result = try body()
            try signs.end(isDone: true)
            return result
        } catch {
            try signs.end(isDone: false)
            throw error
        }
    }

    /// Runs `body` on the first rank, and then on the others, which see its files.
    package func inTurn<Result>(_ body: () throws -> Result) throws -> Result {
        if let result = try alone(body) { return result }
        return try body()
    }

    /// Returns the weights that `make` returns on the first rank, by role and key, on all ranks.
    func shared(
        _ make: () throws -> [String: [String: Tensor]]
    ) throws -> [String: [String: Tensor]] {
        let own = try alone(make)
        let lists = own.map { weights in
            weights.mapValues { $0.mapValues { SharedTensor($0) } }
        }
        let described = try gathered(values: lists ?? [:])[0]
        var result: [String: [String: Tensor]] = [:]
        for (role, tensors) in described.sorted(by: { $0.key < $1.key }) {
            for (key, form) in tensors.sorted(by: { $0.key < $1.key }) {
                let tensor =
                    try own?[role]?[key]?.detached().to(.cpu).contiguous() ?? form.empty()
                try world.group.broadcast(tensor, from: 0)
                result[role, default: [:]][key] = tensor
            }
        }
        return result
    }
}

/// The shape and dtype of a tensor that is sent.
private struct SharedTensor: Codable {
    let shape: [Int]
    let dtype: Int32

    init(_ tensor: Tensor) { (shape, dtype) = (tensor.shape, tensor.dtype.rawValue) }

    func empty() throws(SwanError) -> Tensor {
        guard let dtype = DType(rawValue: dtype) else {
            throw SwanError(.peersDiffer, "rank 0 sends a tensor of unknown dtype \(dtype)")
        }
        return try .empty(shape, dtype)
    }
}

/// Tells the other ranks, each second, that the first one is still at work.
private final class WaitingSigns: @unchecked Sendable {
    private let group: ProcessGroup
    // Guards everything below.
    private let condition = NSCondition()
    private var isOver = false
    private var isDone = false
    private var hasEnded = false
    private var failure: SwanError?

    init(_ group: ProcessGroup) { self.group = group }

    func start() throws(SwanError) {
        try startThread("swan.waiting") { [self] in
            do throws(SwanError) {
                while try step() {}
            } catch {
                condition.withLock { failure = error }
            }
            condition.withLock {
                hasEnded = true
                condition.broadcast()
            }
        }
    }

    private func step() throws(SwanError) -> Bool {
        let (over, done) = condition.withLock {
            if !isOver { _ = condition.wait(until: Date(timeIntervalSinceNow: 1)) }
            return (isOver, isDone)
        }
        // After an error, the others learn the reason from the store.
        guard !over || done else { return false }
        try group.broadcast(Tensor.full([1], done ? 1 : 0), from: 0)
        return !over
    }

    /// Ends the thread.
    func end(isDone done: Bool) throws(SwanError) {
        let failure = condition.withLock {
            (isOver, isDone) = (true, done)
            condition.broadcast()
            while !hasEnded { condition.wait() }
            return self.failure
        }
        if done, let failure { throw failure }
    }
}

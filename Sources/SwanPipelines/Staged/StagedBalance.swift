import SwanDistributed
import SwanSystem
import Torch

/// Decides when blocks move: asks all ranks for their costs again and again, and looks for a better
/// map.
struct StagedBalance: Sendable {
    /// Chooses the next map; nil for the present one.
    typealias Choice =
        @Sendable (
            _ costs: StageCosts?, _ map: BlockMap, _ iteration: Int
        ) throws(SwanError) -> BlockMap?

    /// The iterations from one question to the next.
    private static let interval = 2

    private let isOn: Bool
    private let choice: Choice
    private var costs: StageCosts?
    private var isAsking = false
    /// The iteration that was asked for last.
    private var asked = 0

    init(
        isOn: Bool,
        choice: @escaping Choice = { costs, map, _ throws(SwanError) in try costs?.balanced(map) }
    ) {
        (self.isOn, self.choice) = (isOn, choice)
    }

    /// The map to use from an iteration on; nil if it stays.
    mutating func nextMap(_ map: BlockMap, at iteration: Int) throws(SwanError) -> BlockMap? {
        guard isOn else { return nil }
        defer { costs = nil }
        return try choice(costs, map, iteration)
    }

    /// The question to send round before an iteration, if it is time.
    mutating func question(ranks: Int, at iteration: Int) throws(SwanError) -> StageMessage? {
        guard isOn, !isAsking, iteration >= asked + Self.interval else { return nil }
        (isAsking, asked) = (true, iteration)
        var message = StageMessage(.times)
        message.tensors = [
            try Tensor(Array(repeating: Double.nan, count: 2 * ranks), [2, ranks])
        ]
        return message
    }

    /// Takes the answer of all ranks.
    mutating func take(_ message: StageMessage) throws(SwanError) {
        let values: [Double] = try message.tensors[0].array()
        let ranks = values.count / 2
        isAsking = false
        costs = StageCosts(perBlock: Array(values[..<ranks]), fixed: Array(values[ranks...]))
    }
}

import Foundation
import SwanDistributed
import SwanSystem
import Synchronization
import Torch

/// What a rank's blocks and its other work cost.
final class StageMeter: Sendable {
    /// Replaces the seconds that a rank's blocks took by others, to try out how blocks are moved.
    typealias Injection = @Sendable (_ place: Int, _ blocks: Int, _ seconds: Double) -> Double

    private struct State {
        var blocks = RecentMedian()
        var other = RecentMedian()
        /// The rows of a full forward; others are not typical.
        var rowCount: Int
    }

    /// Whether anything is measured; on a GPU that means waiting for each result.
    private let isOn: Bool
    private let injection: Injection
    private let state: Mutex<State>

    init(
        isOn: Bool,
        rowCount: Int,
        injection: @escaping Injection = { _, _, seconds in seconds }
    ) {
        (self.isOn, self.injection) = (isOn, injection)
        state = Mutex(State(rowCount: rowCount))
    }

    /// Adds the time that the blocks of this rank took for a forward.
    func add(
        since begin: ContinuousClock.Instant,
        rows: Int,
        waitingFor result: Tensor
    ) throws(SwanError) {
        guard isOn, rows == state.withLock({ $0.rowCount }) else { return }
        try Engine.synchronize(result.device)
        let seconds = (ContinuousClock.now - begin).seconds
        state.withLock { $0.blocks.add(seconds) }
    }

    /// Adds the time of a chunk in another stage on this rank, such as encoding.
    func add(other seconds: Double) { state.withLock { $0.other.add(seconds) } }

    /// Forgets the times of blocks, whose number has changed.
    func reset() { state.withLock { $0.blocks.reset() } }

    /// Forgets the times of blocks, because the number of rows of a forward has changed.
    func reset(rows: Int) {
        state.withLock { state in
            state.blocks.reset()
            state.rowCount = rows
        }
    }

    /// Writes this rank's costs into a message of times [2, ranks]: of a block, of what else it does.
    func filled(
        _ message: StageMessage,
        _ place: Int,
        blocks: Int
    ) throws(SwanError) -> StageMessage {
        let (seconds, other) = state.withLock { ($0.blocks.value, $0.other.value) }
        let times = message.tensors[0]
        var values: [Double] = try times.array()
        let ranks = values.count / 2
        values[place] = injection(place, blocks, seconds) / Double(blocks)
        values[ranks + place] = other.isNaN ? 0 : other
        var filled = message
        filled.tensors = [try Tensor(values, [2, ranks])]
        return filled
    }
}

package import SwanDistributed
package import SwanSystem

/// How the processes of a training run share its work: `parallel` in a recipe.
package struct ParallelOptions: Codable, Sendable, Equatable {
    /// The number of ranks, or groups of ranks, that compute different micro-batches; by default as
    /// many as there are.
    package var data: Int?
    /// The number of ranks that share the tokens of a micro-batch; 1 by default.
    package var sequence: Int?
    /// Which weights and states of optimizers a rank keeps; all by default.
    package var shard: Sharding?

    /// Creates options.
    package init(data: Int? = nil, sequence: Int? = nil, shard: Sharding? = nil) {
        self.data = data
        self.sequence = sequence
        self.shard = shard
    }

    /// The number of ranks in each direction for a number of processes.
    ///
    /// - Throws: `invalidRequest` with what would fit.
    package func shape(for size: Int) throws(SwanError) -> (data: Int, sequence: Int) {
        for (name, count) in [("data", data), ("sequence", sequence)] {
            guard let count, !(1...65_536 ~= count) else { continue }
            throw SwanError(
                .invalidRequest,
                "parallel.\(name) is \(count); it must be between 1 and 65536"
            )
        }
        let (data, sequence) =
            switch (data, sequence) {
            case (let data?, let sequence?): (data, sequence)
            case (let data?, nil): (data, max(1, size / data))
            case (nil, let sequence): (max(1, size / (sequence ?? 1)), sequence ?? 1)
            }
        guard data * sequence == size else {
            let fitting = (1...size).filter { size.isMultiple(of: $0) }
                .map { "\(size / $0) x \($0)" }
            throw SwanError(
                .invalidRequest,
                "parallel: data \(data) x sequence \(sequence) is \(data * sequence) ranks, but "
                    + "\(size) \(size == 1 ? "process was" : "processes were") started; start "
                    + "\(data * sequence) (swan launch --nproc \(data * sequence) -- train …), or set "
                    + "data x sequence to \(fitting.joined(separator: ", "))"
            )
        }
        return (data, sequence)
    }
}

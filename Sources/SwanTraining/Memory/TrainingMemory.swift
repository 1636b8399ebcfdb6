package import SwanSystem

/// The memory that a training run needs on a rank, computed before it starts.
///
/// It is that of the device that has the networks. On a CPU, measured peaks are within 25 %.
package struct TrainingMemory: Sendable, Equatable {
    /// A network that gradients change.
    package struct Trained: Sendable, Equatable {
        package let name: String
        /// The number of its weights, and of those of its largest layer.
        package let weights, largestLayer: Int
        /// The bytes of what is made of its weights in each update: those that layers fuse, or all of
        /// them in another dtype.
        package let derivedBytes: Int

        /// Describes a network.
        package init(_ name: String, weights: Int, largestLayer: Int, derivedBytes: Int) {
            self.name = name
            self.weights = weights
            self.largestLayer = largestLayer
            self.derivedBytes = derivedBytes
        }
    }

    /// How the work is divided.
    package struct Division: Sendable, Equatable {
        /// The micro-batches of a step that this process computes, and how many of them at once.
        package var microBatches = 1, atOnce = 1
        /// The ranks that add gradients, and those among them that keep a part of the weights each.
        package var ranks = 1, shards = 1
        /// Whether memory that was freed is kept for later, which leaves some of it unused.
        package var keepsFreedMemory = true

        /// One process with one micro-batch.
        package init() {}
    }

    /// A part of the need.
    package struct Item: Sendable, Equatable {
        package let name: String
        package let bytes: Int
    }

    /// Weights, their averages and moments; frozen weights; what a step adds.
    package let items: [Item]
    /// The peak.
    package let total: Int

    /// Computes the need.
    ///
    /// - Parameters:
    ///   - trained: The networks that learn.
    ///   - frozenBytes: The weights of those that do not.
    ///   - activations: What the largest update keeps of one micro-batch, and has for a moment.
    ///   - dataBytes: Batches that wait.
    package init(
        _ trained: [Trained],
        frozenBytes: Int,
        activations: (kept: Int, passing: Int),
        dataBytes: Int,
        _ division: Division
    ) {
        let number = 4
        let all = trained.map(\.weights).reduce(0, +)
        let largest = trained.map(\.weights).max() ?? 0
        let isShared = division.shards > 1
        // Weights, two moments, and the average of the weights.
        let state = 4 * number * all / division.shards
        let copies =
            isShared
            ? 2 * number * (trained.map(\.largestLayer).max() ?? 0)
            : trained.map(\.derivedBytes).reduce(0, +)
        let sums = division.ranks > 1 && !isShared ? 2 : 1
        let gradients =
            number * largest / division.shards * (sums + division.microBatches - 1)
        // Freed pieces are seldom as large as what is needed next: measured, half as much again.
        let kept =
            division.keepsFreedMemory ? activations.kept * 3 / 2 : activations.kept
        let step =
            division.microBatches == 1
            // Activations go as gradients come.
            ? max(kept, gradients) + activations.passing
            : division.atOnce * (kept + activations.passing) + gradients
        // The weights that a run begins with, and those that it saves, are whole.
        let whole = number * all
        let peak = max(step + copies + dataBytes, whole)
        items = [
            Item(name: "weights, averages and moments of what learns", bytes: state),
            Item(name: "frozen weights", bytes: frozenBytes),
            Item(name: "gradients", bytes: gradients),
            Item(name: "activations", bytes: kept + activations.passing),
            Item(name: "copies of weights", bytes: copies),
            Item(name: "batches", bytes: dataBytes),
        ]
        total = state + frozenBytes + peak
    }

    /// The need in words, largest parts first.
    package var text: String {
        let parts = items.filter { $0.bytes > 0 }.sorted { $0.bytes > $1.bytes }
            .map { "\($0.name) \(Self.size($0.bytes))" }
        return "about \(Self.size(total)) for each process: \(parts.joined(separator: ", "))"
    }

    /// A number of bytes with two digits or more, such as 310 MB and 54 GB.
    package static func size(_ bytes: Int) -> String {
        bytes < 9_950_000_000
            ? "\(max(1, (bytes + 500_000) / 1_000_000)) MB"
            : "\((bytes + 500_000_000) / 1_000_000_000) GB"
    }

    /// Throws if the need is more than there is.
    ///
    /// - Parameters:
    ///   - available: The memory for this process; nil if unknown.
    ///   - remedies: What else could be done, and what would be needed then.
    package func require(
        in available: Int?,
        remedies: [(what: String, memory: TrainingMemory)]
    ) throws(SwanError) {
        guard let available, total > available else { return }
        let fitting = remedies.filter { $0.memory.total <= available }
            .map { "\($0.what) (\(Self.size($0.memory.total)))" }
        let advice =
            fitting.isEmpty
            ? "a smaller image_or_video_shape or model, or a machine with more memory"
            : fitting.joined(separator: ", or ")
        throw SwanError(
            .outOfMemory,
            "this training needs \(text); there are \(Self.size(available)). What would fit: "
                + advice
        )
    }
}

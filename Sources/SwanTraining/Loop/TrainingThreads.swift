import Foundation
import Torch

/// Assigns threads to operators during training.
package enum TrainingThreads {
    /// Limits the calling thread's operators to its share of `threads`, divided among the
    /// micro-batches that are computed concurrently.
    package static func share(_ threads: Int, among microBatches: Int = 1) {
        ComputeBudget(threads: threads).divided(by: microBatches).apply()
    }
}

extension Device {
    /// Returns the number of threads that prepare data while `threads` others train a network on
    /// this device.
    ///
    /// One on a CPU, whose cores are busy training. A GPU consumes batches faster than one thread
    /// makes them, so it gets all remaining cores, up to a number that keeps it busy and fits in
    /// memory.
    func dataThreads(besides threads: Int) -> Int {
        guard self != .cpu else { return 1 }
        return max(1, min(16, ProcessInfo.processInfo.activeProcessorCount - threads))
    }

    /// Returns the number of threads that fill a pool of clips. They also use the training cores,
    /// since training waits while the pool is empty and later takes only an occasional clip.
    package func poolThreads(besides threads: Int) -> Int {
        max(dataThreads(besides: threads), stepThreads(of: threads))
    }

    /// Returns how many of a recipe's `threads` compute the micro-batches of a step on this device.
    ///
    /// A GPU runs them one after another anyway, and cuDNN plans its convolutions again for every
    /// thread.
    package func stepThreads(of threads: Int) -> Int { self == .cpu ? threads : 1 }
}

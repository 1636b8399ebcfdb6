import Foundation
import Torch

/// The threads of operators while networks are trained.
package enum TrainingThreads {
    /// Gives the calling thread its share of `threads`, of which each micro-batch that is computed at the
    /// same time has one.
    package static func share(_ threads: Int, among microBatches: Int = 1) {
        ComputeBudget(threads: threads).divided(by: microBatches).apply()
    }
}

extension Device {
    /// Threads that make data while a network is trained here by `threads` others.
    ///
    /// One beside training on a CPU, whose cores are busy. A GPU takes batches faster than one thread
    /// makes them: all cores that are left, up to a number that feeds it and fits into memory.
    func dataThreads(besides threads: Int) -> Int {
        guard self != .cpu else { return 1 }
        return max(1, min(16, ProcessInfo.processInfo.activeProcessorCount - threads))
    }

    /// Threads that fill a pool of clips: also the cores of training, which waits for a pool that is
    /// empty and later takes a clip now and then.
    package func poolThreads(besides threads: Int) -> Int {
        max(dataThreads(besides: threads), stepThreads(of: threads))
    }

    /// How many of a recipe's `threads` work on the micro-batches of a step here.
    ///
    /// A GPU does one after the other anyway, and cuDNN plans its convolutions anew for every thread.
    package func stepThreads(of threads: Int) -> Int { self == .cpu ? threads : 1 }
}

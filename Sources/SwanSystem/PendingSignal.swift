package import Foundation

/// A blocked signal that has arrived.
package enum PendingSignal {
    /// Takes the next signal of a set; nil if none arrives in time.
    package static func next(of signals: sigset_t, within seconds: Double) -> Int32? {
        var signals = signals
        var wait = timespec()
        wait.tv_sec = Int(seconds)
        wait.tv_nsec = Int((seconds - seconds.rounded(.down)) * 1e9)
        let number = sigtimedwait(&signals, nil, &wait)
        return number > 0 ? number : nil
    }
}

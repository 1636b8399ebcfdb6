import Synchronization

/// What happens during a pull.
package enum PullEvent: Sendable {
    case progress(PullProgress)
    /// Something that the user may want to know.
    case note(String)
}

/// How far a pull is.
package struct PullProgress: Sendable, Equatable {
    /// The name of the model.
    package let name: String
    /// The bytes that have arrived, those of earlier attempts included, and all.
    package let bytes, totalBytes: Int
    /// The complete files, and all.
    package let files, totalFiles: Int
    /// The bytes per second lately.
    package let speed: Double

    /// The time that is left at this speed; nil if nothing arrives.
    package var remainingSeconds: Double? {
        speed > 0 ? Double(max(0, totalBytes - bytes)) / speed : nil
    }
}

/// Counts what arrives.
final class PullMeter: Sendable {
    private struct State {
        var bytes = 0
        var files = 0
        var total: Int
        /// The start of the current interval, and what had arrived then by network.
        var since = ContinuousClock.now
        var arrived = 0
        var speed: Double?
    }

    private let name: String
    private let fileCount: Int
    private let state: Mutex<State>
    private let report: @Sendable (PullEvent) -> Void

    init(
        _ name: String,
        bytes: Int,
        files: Int,
        _ report: @escaping @Sendable (PullEvent) -> Void
    ) {
        (self.name, fileCount, self.report) = (name, files, report)
        state = Mutex(State(total: bytes))
    }

    /// Adds bytes that have arrived, or that were there before; a negative number for bytes that
    /// turned out to be useless.
    func add(_ bytes: Int, isNew: Bool) {
        let progress = state.withLock { state in
            state.bytes += bytes
            if isNew { state.arrived += bytes }
            let seconds = (ContinuousClock.now - state.since) / .seconds(1)
            if seconds >= 1 {
                let now = Double(max(0, state.arrived)) / seconds
                state.speed = state.speed.map { 0.7 * $0 + 0.3 * now } ?? now
                (state.since, state.arrived) = (.now, 0)
            }
            return snapshot(state)
        }
        report(.progress(progress))
    }

    /// Counts a file as complete.
    func finishFile() {
        let progress = state.withLock { state in
            state.files += 1
            return snapshot(state)
        }
        report(.progress(progress))
    }

    private func snapshot(_ state: State) -> PullProgress {
        PullProgress(
            name: name,
            bytes: state.bytes,
            totalBytes: max(state.total, state.bytes),
            files: state.files,
            totalFiles: fileCount,
            speed: state.speed ?? 0
        )
    }
}

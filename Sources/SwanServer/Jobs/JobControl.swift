import Foundation

/// How a running job learns that it should stop, and how it tells how far it is.
final class JobControl: @unchecked Sendable {
    // `lock` protects everything below.
    private let lock = NSLock()
    private var isSet = false
    private var action: (@Sendable () -> Void)?
    private let report: @Sendable (Int) -> Void

    /// - Parameter report: Called with the progress in percent.
    init(report: @escaping @Sendable (Int) -> Void) { self.report = report }

    /// Whether the job should stop.
    var isStopped: Bool { lock.withLock { isSet } }

    /// Asks the job to stop.
    func stop() {
        let action = lock.withLock {
            isSet = true
            return self.action
        }
        action?()
    }

    /// Calls a function when the job should stop; at once if it already should.
    func whenStopped(_ action: @escaping @Sendable () -> Void) {
        let isLate = lock.withLock {
            self.action = action
            return isSet
        }
        if isLate { action() }
    }

    /// Throws if the job should stop.
    func check() throws(CancellationError) {
        if isStopped { throw CancellationError() }
    }

    /// Tells the share of the work that is done, 0 to 1. The last percent is the finished file's.
    func advance(to share: Double) { report(min(max(Int(99 * share), 0), 99)) }
}

/// The properties of a video that a job has made.
struct JobResult: Sendable, Equatable {
    var size: JobRequest.Size
    var frames: Int
    var frameRate: Double
    /// What was wrong with its prompts, in words.
    var issues: [String] = []
}

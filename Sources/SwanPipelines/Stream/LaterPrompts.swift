import Synchronization

/// The prompts that have not taken effect yet, next one first.
final class LaterPrompts: Sendable {
    private enum Start {
        case frame(Int)
        case seconds(Double)
    }

    private let prompts: Mutex<[(start: Start, text: String)]>

    /// Takes the prompts of a request.
    ///
    /// - Parameter frameRate: The rate by which prompts at frames and at times are put in order.
    init(_ request: FileStreamRequest, frameRate: Double) {
        let framed = request.laterPrompts.map { frame, text in
            (start: Start.frame(frame), seconds: Double(frame) / frameRate, text: text)
        }
        let timed = request.timedPrompts.map { seconds, text in
            (start: Start.seconds(seconds), seconds: seconds, text: text)
        }
        let all = (framed + timed).sorted { $0.seconds < $1.seconds }
        prompts = Mutex(all.map { (start: $0.start, text: $0.text) })
    }

    /// Removes and returns the next prompt that has been reached.
    ///
    /// - Parameters:
    ///   - frame: The number of the next frame, from 0.
    ///   - seconds: Its time since the first frame.
    func next(at frame: Int, seconds: Double) -> String? {
        prompts.withLock { prompts in
            // A frame of 24 per second is at 3.9999999 s as well as at 4 s.
            let index = prompts.firstIndex { entry in
                switch entry.start {
                case .frame(let start): start <= frame
                case .seconds(let start): start <= seconds + 1e-6
                }
            }
            return index.map { prompts.remove(at: $0).text }
        }
    }
}

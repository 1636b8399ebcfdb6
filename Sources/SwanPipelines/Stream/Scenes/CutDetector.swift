import SwanMedia

/// Finds the frames at which another scene begins.
///
/// A cut is a sudden change of the picture that is no change of brightness, no shift, and stays. What a
/// frame alone cannot tell, the next one does: after a flash, the old picture returns.
struct CutDetector: Sendable {
    /// A frame that may be the first of a scene.
    struct Suspect: Sendable {
        let frame: FrameDigest
        /// The difference from the old scene, in levels.
        let change: Float

        /// Whether the next frame continues the new scene.
        func isConfirmed(by next: FrameDigest) -> Bool {
            next.difference(to: frame) < CutDetector.continuing * change
        }

        /// What is left of the suspicion once a scene begins with an earlier frame; nil if this one
        /// belongs to it.
        func remaining(after first: FrameDigest) -> Suspect? {
            let change = frame.difference(to: first)
            guard CutDetector.isOther(frame, than: first, change) else { return nil }
            return Suspect(frame: frame, change: change)
        }
    }

    // Chosen on drawn and filmed footage: see docs/decisions/0033-cuts-and-stills.md.
    /// The least change of a cut, in levels, and its least ratio to the usual change.
    private static let leastChange: Float = 6
    private static let leastRatio: Float = 1.8
    /// The least correlations of frames of one scene, in place and after a pan.
    private static let samePlace: Float = 0.6
    private static let sameView: Float = 0.85
    /// Below this contrast there is nothing to correlate; then the least change of a cut.
    private static let flat: Float = 4
    private static let leastFlatChange: Float = 20
    /// The largest share of the change that may be left between the new scene's first two frames.
    private static let continuing: Float = 0.65
    /// The frames for which the old scene is remembered during a disturbance.
    private static let memory = 2

    private var last: FrameDigest?
    /// The last undisturbed frame of the scene, and for how long it has been.
    private var scene: FrameDigest?
    private var disturbed = 0
    /// The usual change from frame to frame.
    private var level: Float = 0

    /// Looks at the next frame; nil unless it may begin a scene.
    mutating func suspect(_ frame: FrameDigest) -> Suspect? {
        guard let last, let scene else {
            (self.last, self.scene) = (frame, frame)
            return nil
        }
        let change = frame.difference(to: last)
        let isSudden = change > max(Self.leastChange, Self.leastRatio * level)
        level += 0.25 * (min(change, 3 * level + Self.leastChange) - level)
        self.last = frame
        let total = frame.difference(to: scene)
        let isSuspect = isSudden && Self.isOther(frame, than: scene, total)
        if isSudden, disturbed < Self.memory {
            disturbed += 1
        } else {
            (self.scene, disturbed) = (frame, 0)
        }
        guard isSuspect else { return nil }
        // What resembles the last frame is the end of a pan or of a blend: the change must stop.
        let isAlone = Self.isOther(frame, than: last, change)
        return Suspect(frame: frame, change: isAlone ? total : change)
    }

    /// Takes the newest frame for the scene, once a suspect is confirmed.
    mutating func accept() { (scene, disturbed) = (last, 0) }

    private static func isOther(
        _ frame: FrameDigest,
        than scene: FrameDigest,
        _ change: Float
    ) -> Bool {
        guard min(frame.contrast, scene.contrast) >= flat else {
            return change > leastFlatChange
        }
        guard change > leastChange, frame.correlation(with: scene) < samePlace else { return false }
        return frame.shiftedCorrelation(with: scene) < sameView
    }
}

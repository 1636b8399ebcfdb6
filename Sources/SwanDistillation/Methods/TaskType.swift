package import SwanSystem

/// Which frames of a sample have the same amount of noise.
package enum TaskType: String, Sendable, CaseIterable {
    /// The sample is a single frame.
    case image
    /// All frames have that of the first.
    case bidirectionalVideo = "bidirectional_video"
    /// All frames of a block have that of its first.
    case causalVideo = "causal_video"

    /// Numbers drawn for each row and frame, made equal where this type wants it.
    package func equalized<Number>(
        _ rows: [[Number]],
        framesPerBlock: Int
    ) throws(SwanError) -> [[Number]] {
        try rows.map { row throws(SwanError) in
            try check(frames: row.count, framesPerBlock: framesPerBlock)
            return switch self {
            case .image: row
            case .bidirectionalVideo: row.map { _ in row[0] }
            case .causalVideo: row.indices.map { row[$0 / framesPerBlock * framesPerBlock] }
            }
        }
    }

    /// Throws if a sample of `frames` frames is not of this type.
    package func check(frames: Int, framesPerBlock: Int) throws(SwanError) {
        switch self {
        case .image where frames != 1:
            throw SwanError(
                .invalidData,
                "a sample has \(frames) latent frames, but the task 'image' has 1; use "
                    + "bidirectional_video or causal_video"
            )
        case .causalVideo where framesPerBlock < 1 || !frames.isMultiple(of: framesPerBlock):
            throw SwanError(
                .invalidData,
                "\(frames) latent frames do not divide into blocks of num_frame_per_block "
                    + "\(framesPerBlock)"
            )
        default: break
        }
    }
}

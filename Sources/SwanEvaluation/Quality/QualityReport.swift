import Foundation
import SwanPipelines
import Torch

/// A measure of a streaming model's quality.
package enum QualityMeasure: String, Sendable, CaseIterable, Encodable {
    /// The autoencoder alone, compared with linear codes.
    case vae
    /// Each style: whether the output shows the requested style, its fidelity, and its flicker.
    case styles
    /// How quickly a new prompt takes effect.
    case changes
    /// Whether the output drifts over a long stream.
    case drift
}

/// The figures of one measure for one clip and, for some measures, one style.
package struct QualityRow: Sendable, Equatable {
    /// The measure.
    package let measure: QualityMeasure
    /// The clip's file name.
    package let clip: String
    /// The style; nil if the measure is not of a single style.
    package var style: String?
    /// The figures.
    package let figures: [Figure]
    /// Additional information.
    package var note: String?

    /// Whether all figures meet their bounds.
    package var holds: Bool { figures.allSatisfy(\.holds) }

    /// The row as a human-readable line.
    package var line: String {
        func column(_ text: String, _ width: Int) -> String {
            text.padding(toLength: max(width, text.count), withPad: " ", startingAt: 0)
        }
        let begin = [
            column(holds ? "ok" : "FAILED", 6), column(measure.rawValue, 7), column(clip, 21),
            column(style ?? "", 9),
        ]
        let rest = figures.map(\.text) + (note.map { [$0] } ?? [])
        return begin.joined(separator: "  ") + "  " + rest.joined(separator: "; ")
    }
}

/// The results of a quality benchmark.
package struct QualityReport: Sendable, Encodable {
    /// A clip, with a note on it.
    package struct Footage: Sendable, Equatable, Encodable {
        /// The clip's file name.
        package let clip: String
        /// Whether the model was trained on it.
        package let note: String
    }

    /// The version of the schema; it increases when a key is removed or its meaning changes.
    package let schemaVersion = 1
    /// The model, as specified.
    package let model: String
    /// The frame size in pixels.
    package let width, height: Int
    /// The denoising steps.
    package let steps: [Int]
    /// The seed of the random numbers.
    package let seed: UInt64
    /// The compute dtype and the device.
    package let dtype, device: String
    /// The styles among which the nearest one was determined.
    package let styles: [String]
    /// Notes on the clips.
    package let footage: [Footage]
    /// The results.
    package internal(set) var rows: [QualityRow] = []

    /// Whether all rows meet their bounds.
    package var holds: Bool { rows.allSatisfy(\.holds) }

    /// A human-readable summary of the setup.
    package var heading: String {
        let steps = steps.count == 1 ? "1 step" : "\(steps.count) steps"
        let first =
            "model \(model), \(width)x\(height), \(steps), \(dtype) on \(device), seed \(seed); styles: "
            + styles.joined(separator: ", ")
        return ([first] + footage.map { "\($0.clip): \($0.note)" }).joined(separator: "\n")
    }

    /// A human-readable summary: how many rows meet their bounds.
    package var verdict: String {
        let held = rows.count { $0.holds }
        return "\(held) of \(rows.count) rows meet their bounds"
    }

    private enum CodingKeys: String, CodingKey {
        case schemaVersion = "schema_version", model, width, height, steps, seed, dtype, device
        case styles, footage, rows
    }
}

// MARK: - As JSON

extension QualityRow: Encodable {
    private enum CodingKeys: String, CodingKey {
        case measure, clip, style, figures, note, holds
    }

    /// Encodes all properties, and whether the row meets its bounds.
    package func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(measure, forKey: .measure)
        try values.encode(clip, forKey: .clip)
        try values.encodeIfPresent(style, forKey: .style)
        try values.encode(figures, forKey: .figures)
        try values.encodeIfPresent(note, forKey: .note)
        try values.encode(holds, forKey: .holds)
    }
}

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

/// The bound that a figure must meet.
package enum QualityBound: Sendable, Equatable {
    case atLeast(Double)
    case atMost(Double)
    case within(ClosedRange<Double>)

    /// Whether a value meets the bound; NaN does not.
    package func holds(_ value: Double) -> Bool {
        switch self {
        case .atLeast(let least): value >= least
        case .atMost(let most): value <= most
        case .within(let range): range.contains(value)
        }
    }

    /// The bound as text.
    package var text: String {
        switch self {
        case .atLeast(let least): String(format: "at least %.4g", least)
        case .atMost(let most): String(format: "at most %.4g", most)
        case .within(let range):
            String(format: "%.4g to %.4g", range.lowerBound, range.upperBound)
        }
    }
}

/// One measured figure.
package struct QualityFigure: Sendable, Equatable {
    /// The short name, which is stable across versions.
    package let name: String
    /// The value.
    package let value: Double
    /// The unit; empty for ratios.
    package let unit: String
    /// The bound to meet; nil for a figure that only provides context.
    package let bound: QualityBound?

    init(_ name: String, _ value: Double, _ unit: String = "", _ bound: QualityBound? = nil) {
        self.name = name
        self.value = value
        self.unit = unit
        self.bound = bound
    }

    /// Whether the figure meets its bound, if it has one.
    package var holds: Bool { bound?.holds(value) ?? true }

    /// The human-readable form.
    package var text: String {
        let number = String(format: "%@ %.4g", name, value) + (unit.isEmpty ? "" : " " + unit)
        guard let bound else { return number }
        return number + " (\(holds ? "" : "NOT ")\(bound.text))"
    }
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
    package let figures: [QualityFigure]
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

extension QualityFigure: Encodable {
    private enum CodingKeys: String, CodingKey {
        case name, value, unit, atLeast = "at_least", atMost = "at_most", holds
    }

    /// Encodes a bound by its endpoints. A value that is not finite is omitted.
    package func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(name, forKey: .name)
        if value.isFinite { try values.encode(value, forKey: .value) }
        if !unit.isEmpty { try values.encode(unit, forKey: .unit) }
        guard let bound else { return }
        switch bound {
        case .atLeast(let least): try values.encode(least, forKey: .atLeast)
        case .atMost(let most): try values.encode(most, forKey: .atMost)
        case .within(let range):
            try values.encode(range.lowerBound, forKey: .atLeast)
            try values.encode(range.upperBound, forKey: .atMost)
        }
        try values.encode(holds, forKey: .holds)
    }
}

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

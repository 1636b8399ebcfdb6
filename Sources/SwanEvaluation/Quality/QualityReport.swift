import Foundation
import SwanPipelines
import Torch

/// What can be measured of a streaming model's quality.
public enum QualityMeasure: String, Sendable, CaseIterable, Encodable {
    /// The autoencoder alone, beside linear codes.
    case vae
    /// Each style: whether it is the one asked for, what it keeps, whether it flickers.
    case styles
    /// How soon another prompt takes hold.
    case changes
    /// Whether a long stream ends as it began.
    case drift
}

/// What a figure has to fulfil.
public enum QualityBound: Sendable, Equatable {
    case atLeast(Double)
    case atMost(Double)
    case within(ClosedRange<Double>)

    /// Whether a value does; no number does not.
    public func holds(_ value: Double) -> Bool {
        switch self {
        case .atLeast(let least): value >= least
        case .atMost(let most): value <= most
        case .within(let range): range.contains(value)
        }
    }

    /// In words.
    public var text: String {
        switch self {
        case .atLeast(let least): String(format: "at least %.4g", least)
        case .atMost(let most): String(format: "at most %.4g", most)
        case .within(let range):
            String(format: "%.4g to %.4g", range.lowerBound, range.upperBound)
        }
    }
}

/// One measured number.
public struct QualityFigure: Sendable, Equatable {
    /// What it is, in a word or two: the same in every version.
    public let name: String
    /// The number.
    public let value: Double
    /// Its unit; empty for ratios.
    public let unit: String
    /// What it has to fulfil; nil for a number that says more about the others.
    public let bound: QualityBound?

    init(_ name: String, _ value: Double, _ unit: String = "", _ bound: QualityBound? = nil) {
        self.name = name
        self.value = value
        self.unit = unit
        self.bound = bound
    }

    /// Whether it fulfils its bound, if it has one.
    public var holds: Bool { bound?.holds(value) ?? true }

    /// For people.
    public var text: String {
        let number = String(format: "%@ %.4g", name, value) + (unit.isEmpty ? "" : " " + unit)
        guard let bound else { return number }
        return number + " (\(holds ? "" : "NOT ")\(bound.text))"
    }
}

/// What was measured of one clip, and perhaps of one style.
public struct QualityRow: Sendable, Equatable {
    /// What was measured.
    public let measure: QualityMeasure
    /// The clip's file.
    public let clip: String
    /// The style; nil where it is of none.
    public var style: String?
    /// The numbers.
    public let figures: [QualityFigure]
    /// What else there is to say.
    public var note: String?

    /// Whether all figures fulfil their bounds.
    public var holds: Bool { figures.allSatisfy(\.holds) }

    /// One line for people.
    public var line: String {
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

/// What was measured of a model.
public struct QualityReport: Sendable, Encodable {
    /// A clip, and what is known of it.
    public struct Footage: Sendable, Equatable, Encodable {
        /// Its file.
        public let clip: String
        /// Whether the model was trained on it.
        public let note: String
    }

    /// The version of this form; it rises when a key changes its meaning or goes away.
    public let schemaVersion = 1
    /// The model, as it was named.
    public let model: String
    /// The pictures' size in pixels.
    public let width, height: Int
    /// Denoising steps.
    public let steps: [Int]
    /// The random numbers' seed.
    public let seed: UInt64
    /// What the model computed in, and where.
    public let dtype, device: String
    /// The styles that the nearest one was sought among.
    public let styles: [String]
    /// What is known of the footage.
    public let footage: [Footage]
    /// What was measured.
    public internal(set) var rows: [QualityRow] = []

    /// Whether all rows fulfil their bounds.
    public var holds: Bool { rows.allSatisfy(\.holds) }

    /// What was run on what, for people.
    public var heading: String {
        let steps = steps.count == 1 ? "1 step" : "\(steps.count) steps"
        let first =
            "model \(model), \(width)x\(height), \(steps), \(dtype) on \(device), seed \(seed); nearest of "
            + styles.joined(separator: ", ")
        return ([first] + footage.map { "\($0.clip): \($0.note)" }).joined(separator: "\n")
    }

    /// How many rows fulfil their bounds, for people.
    public var verdict: String {
        let held = rows.count { $0.holds }
        return "\(held) of \(rows.count) rows fulfil their bounds"
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

    /// Writes a bound as its ends; a value that is no finite number is left out.
    public func encode(to encoder: any Encoder) throws {
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

    /// Writes all there is, and whether it holds.
    public func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(measure, forKey: .measure)
        try values.encode(clip, forKey: .clip)
        try values.encodeIfPresent(style, forKey: .style)
        try values.encode(figures, forKey: .figures)
        try values.encodeIfPresent(note, forKey: .note)
        try values.encode(holds, forKey: .holds)
    }
}

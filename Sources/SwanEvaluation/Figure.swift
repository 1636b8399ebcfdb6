import Foundation

/// The bound that a figure must meet.
package enum Bound: Sendable, Equatable {
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
package struct Figure: Sendable, Equatable {
    /// The short name, which is stable across versions.
    package let name: String
    /// The value.
    package let value: Double
    /// The unit; empty for ratios.
    package let unit: String
    /// The bound to meet; nil for a figure that only provides context.
    package let bound: Bound?

    /// Creates a figure.
    package init(_ name: String, _ value: Double, _ unit: String = "", _ bound: Bound? = nil) {
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

// MARK: - As JSON

extension Figure: Encodable {
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

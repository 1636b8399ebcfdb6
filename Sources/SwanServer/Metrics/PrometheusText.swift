/// Prometheus's text format, version 0.0.4.
struct PrometheusText {
    private(set) var text = ""

    /// The media type of the format.
    static let mediaType = "text/plain; version=0.0.4; charset=utf-8"

    /// Begins a metric.
    mutating func begin(_ name: String, _ description: PrometheusMetrics.Description) {
        if !description.help.isEmpty {
            text += "# HELP \(name) \(Self.escaped(description.help, quotes: false))\n"
        }
        text += "# TYPE \(name) \(description.kind.rawValue)\n"
    }

    /// Adds the values of a metric for one combination of labels.
    mutating func add(
        _ name: String,
        _ labels: Labels,
        _ values: Series.Snapshot,
        _ description: PrometheusMetrics.Description
    ) {
        let pairs = labels.pairs.map { "\($0[0])=\"\(Self.escaped($0[1], quotes: true))\"" }
        guard description.kind == .histogram else {
            return line(name, pairs, values.value)
        }
        var count = 0
        for (bound, number) in zip(description.buckets + [.infinity], values.counts) {
            count += number
            let limit = "le=\"\(Self.number(bound))\""
            line(name + "_bucket", pairs + [limit], Double(count))
        }
        line(name + "_sum", pairs, values.sum)
        line(name + "_count", pairs, Double(count))
    }

    private mutating func line(_ name: String, _ pairs: [String], _ value: Double) {
        let labels = pairs.isEmpty ? "" : "{\(pairs.joined(separator: ","))}"
        text += "\(name)\(labels) \(Self.number(value))\n"
    }

    /// A name with the characters that the format allows: ASCII letters, digits and underscores.
    static func name(_ text: String) -> String {
        let characters = text.unicodeScalars.map { scalar -> Character in
            let isAllowed =
                scalar.isASCII && (Character(scalar).isLetter || Character(scalar).isNumber)
            return isAllowed ? Character(scalar) : "_"
        }
        let name = String(characters)
        return name.first?.isNumber ?? true ? "_" + name : name
    }

    /// A number as the format writes it.
    static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value > 0 ? "+Inf" : "-Inf" }
        if let whole = Int64(exactly: value), abs(whole) < 1 << 53 { return "\(whole)" }
        return "\(value)"
    }

    private static func escaped(_ text: String, quotes: Bool) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\"" where quotes: result += "\\\""
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}

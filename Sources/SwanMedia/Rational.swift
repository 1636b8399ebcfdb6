/// A frame rate or an aspect ratio as an exact fraction, such as 30000/1001.
public struct Rational: Hashable, Sendable, CustomStringConvertible {
    /// Positive, in lowest terms.
    public let numerator: Int
    /// Positive, in lowest terms.
    public let denominator: Int

    /// Creates a fraction in lowest terms; `nil` unless both numbers are positive and fit in 32
    /// bits.
    public init?(_ numerator: Int, _ denominator: Int = 1) {
        guard numerator > 0, denominator > 0 else { return nil }
        var (a, b) = (numerator, denominator)
        while b != 0 { (a, b) = (b, a % b) }
        guard numerator / a <= Int(Int32.max), denominator / a <= Int(Int32.max) else { return nil }
        self.numerator = numerator / a
        self.denominator = denominator / a
    }

    /// Parses `30`, `30000/1001`, `30000:1001` or `29.97`; decimals close to n·1000/1001 become
    /// that fraction.
    public init?(_ text: some StringProtocol) {
        let parts = text.split(omittingEmptySubsequences: false) { $0 == "/" || $0 == ":" }
        if parts.count == 2, let numerator = Int(parts[0]), let denominator = Int(parts[1]) {
            self.init(numerator, denominator)
            return
        }
        guard parts.count == 1, let value = Double(parts[0]) else { return nil }
        self.init(value)
    }

    /// Creates the fraction nearest to a decimal, to a thousandth; `nil` unless it is in 0.001 ...
    /// 1,000,000.
    public init?(_ value: Double) {
        guard value >= 0.001, value <= 1_000_000 else { return nil }
        let whole = value.rounded()
        let broadcast = (value * 1.001).rounded()
        if abs(value - whole) < 1e-6 {
            self.init(Int(whole))
        } else if abs(broadcast * 1000 / 1001 - value) < 0.004,
            [24, 30, 60, 120].contains(broadcast)
        {
            self.init(Int(broadcast) * 1000, 1001)
        } else {
            self.init(Int((value * 1000).rounded()), 1000)
        }
    }

    /// 1/1, the aspect ratio of a square pixel.
    public static let one = Rational(whole: 1)

    private init(whole: Int) {
        numerator = whole
        denominator = 1
    }

    /// The fraction as a number.
    public var value: Double { Double(numerator) / Double(denominator) }

    /// `30` or `30000/1001`.
    public var description: String {
        denominator == 1 ? "\(numerator)" : "\(numerator)/\(denominator)"
    }
}

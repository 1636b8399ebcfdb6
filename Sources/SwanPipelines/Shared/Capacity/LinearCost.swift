/// The seconds that work takes: a fixed part, and a part in proportion to its amount.
///
/// Samples of different amounts decide both parts. Later measurements only move the pace, which all
/// amounts share: the work of a running stream is always the same amount, which says nothing about the
/// fixed part.
struct LinearCost: Sendable, Equatable {
    private let fixed: Double
    private let perUnit: Double
    /// What work takes, as a multiple of what the samples promised.
    private(set) var pace = 1.0

    /// Fits samples by least squares, without negative parts; nil without samples.
    init?(_ samples: [(amount: Double, seconds: Double)]) {
        guard !samples.isEmpty else { return nil }
        let count = Double(samples.count)
        let (x, y) = (
            samples.reduce(0) { $0 + $1.amount } / count,
            samples.reduce(0) { $0 + $1.seconds } / count
        )
        let spread = samples.reduce(0) { $0 + ($1.amount - x) * ($1.amount - x) }
        let slope = samples.reduce(0) { $0 + ($1.amount - x) * ($1.seconds - y) }
        let line = spread > 0 ? slope / spread : 0
        if spread > 0, line > 0, y >= line * x {
            (fixed, perUnit) = (y - line * x, line)
        } else if line < 0 || x == 0 {
            (fixed, perUnit) = (y, 0)
        } else {
            (fixed, perUnit) = (0, y / x)
        }
    }

    /// The seconds that an amount takes at the present pace.
    func seconds(_ amount: Double) -> Double { pace * (fixed + perUnit * amount) }

    /// Follows a measurement.
    ///
    /// The pace moves by a fixed ratio, towards the median of the measurements, so that one that was
    /// disturbed counts as little as any other.
    mutating func follow(_ amount: Double, took seconds: Double) {
        let expected = self.seconds(amount)
        guard expected > 0, seconds > 0 else { return }
        pace *= seconds > expected ? 1.03 : 1 / 1.03
        pace = min(max(pace, 0.01), 100)
    }
}

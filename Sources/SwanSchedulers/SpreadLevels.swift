import Foundation

extension FlowLevelSettings {
    /// Levels from `highest` to `lowest`, spread anew.
    func spreadLevels(_ count: Int, from highest: Double, to lowest: Double) -> [Double] {
        let (highest, lowest) = (bounds.highest ?? highest, bounds.lowest ?? lowest)
        let ramp = evenLine(0, 1, count)
        switch spread {
        case .even:
            return ramp.map { highest + $0 * (lowest - highest) }
        case .karras:
            let (low, high) = (pow(lowest, 1 / 7), pow(highest, 1 / 7))
            return ramp.map { pow(high + $0 * (low - high), 7) }
        case .exponential:
            return evenLine(log(highest), log(lowest), count).map(exp)
        case .beta:
            return ramp.map { lowest + betaQuantile(1 - $0, 0.6, 0.6) * (highest - lowest) }
        }
    }

    /// Levels stretched so that the last one is `terminal`.
    func stretched(_ levels: [Double]) -> [Double] {
        guard let terminal, terminal != 0, let last = levels.last else { return levels }
        let scale = (1 - last) / (1 - terminal)
        return levels.map { 1 - (1 - $0) / scale }
    }
}

/// `count` evenly spaced numbers from `start` to `end`, rounded as in NumPy's `linspace`.
func evenLine(_ start: Double, _ end: Double, _ count: Int) -> [Double] {
    guard count > 1 else { return [start] }
    let step = (end - start) / Double(count - 1)
    return (0..<(count - 1)).map { Double($0) * step + start } + [end]
}

/// The x below which a beta distribution has the probability `p`, by bisection.
func betaQuantile(_ p: Double, _ a: Double, _ b: Double) -> Double {
    guard p > 0 else { return 0 }
    guard p < 1 else { return 1 }
    var (low, high) = (0.0, 1.0)
    while true {
        let middle = (low + high) / 2
        // No number lies between the two.
        guard low < middle, middle < high else { return middle }
        if incompleteBeta(middle, a, b) < p { low = middle } else { high = middle }
    }
}

/// The regularized incomplete beta function I_x(a, b) by its continued fraction (Abramowitz and
/// Stegun, 26.5.8), evaluated from the front with Lentz's method.
func incompleteBeta(_ x: Double, _ a: Double, _ b: Double) -> Double {
    // The fraction converges fast on this side only.
    guard x <= (a + 1) / (a + b + 2) else { return 1 - incompleteBeta(1 - x, b, a) }
    let scale = lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x)
    let least = 1e-300
    var (fraction, c, d) = (1.0, 1.0, 0.0)
    for index in 0..<500 {
        let m = Double(index / 2)
        let term =
            if index == 0 {
                1.0
            } else if index.isMultiple(of: 2) {
                m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
            } else {
                -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
            }
        d = 1 + term * d
        d = 1 / (abs(d) < least ? least : d)
        c = 1 + term / c
        if abs(c) < least { c = least }
        fraction *= c * d
        if abs(c * d - 1) < 1e-16 { break }
    }
    return exp(scale) / a * (fraction - 1)
}

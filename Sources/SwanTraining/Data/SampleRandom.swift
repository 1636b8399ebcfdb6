import Foundation

/// Random numbers of one training sample: a function of (seed, index) and of nothing else.
///
/// A run that is resumed, or that makes its samples on other threads, sees the same samples. The
/// generator is SplitMix64 (Steele, Lea, Flood 2014), whose numbers do not change with the toolchain.
public struct SampleRandom: RandomNumberGenerator, Sendable {
    private var state: UInt64

    /// The numbers of sample `index`; each `purpose` has numbers of its own.
    public init(seed: UInt64, index: UInt64, purpose: UInt64 = 0) {
        state = Self.mixed(Self.mixed(Self.mixed(seed) ^ index) ^ purpose)
    }

    /// The next 64 random bits.
    public mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        return Self.mixed(state)
    }

    private static func mixed(_ value: UInt64) -> UInt64 {
        var z = value &+ 0x9e37_79b9_7f4a_7c15
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    /// Uniform in [0, 1).
    public mutating func uniform() -> Double { Double(next() >> 11) * 0x1p-53 }

    /// Uniform between two bounds, which may be equal.
    public mutating func uniform(_ low: Double, _ high: Double) -> Double {
        low + (high - low) * uniform()
    }

    /// Uniform over a range of integers that is not empty.
    public mutating func integer(_ range: Range<Int>) -> Int {
        range.lowerBound + Int(uniform() * Double(range.count))
    }

    /// True with a probability.
    public mutating func chance(_ probability: Double) -> Bool { uniform() < probability }

    /// A normal number (Box and Muller).
    public mutating func normal(_ deviation: Double = 1) -> Double {
        let radius = (-2 * log(1 - uniform())).squareRoot()
        return deviation * radius * cos(2 * Double.pi * uniform())
    }

    /// One of the elements of a list that is not empty.
    public mutating func pick<Element>(_ elements: [Element]) -> Element {
        elements[integer(0..<elements.count)]
    }

    /// An index, with probability in proportion to its weight.
    public mutating func pick(weights: [Double]) -> Int {
        var left = uniform() * weights.reduce(0, +)
        for (index, weight) in weights.enumerated() {
            if left < weight { return index }
            left -= weight
        }
        // Rounding may leave a crumb: the last one that can be chosen.
        return weights.lastIndex { $0 > 0 } ?? 0
    }

    /// The elements in a random order (Fisher and Yates).
    public mutating func shuffled<Element>(_ elements: [Element]) -> [Element] {
        var result = elements
        for last in stride(from: result.count - 1, to: 0, by: -1) {
            result.swapAt(last, integer(0..<(last + 1)))
        }
        return result
    }
}

/// How a solver deviates from its usual form, with the names and defaults of diffusers'
/// schedulers.
public struct FlowSolverSettings: Sendable, Equatable {
    /// The order of the method; Euler's has none.
    public var order = 2
    /// The form of the method's terms of second order.
    public var form = Form.usual
    /// Whether the last steps are of lower order: all of UniPC's, and DPM-Solver++'s below 15 steps.
    public var lowersFinalOrder = true
    /// Whether the last step of DPM-Solver++ is of order 1 in any case.
    public var endsWithEuler = false
    /// The steps, from 0, after which UniPC does not correct.
    public var uncorrectedSteps: Set<Int> = []
    /// Whether Euler's method predicts the clean sample and adds new noise, instead of following
    /// the flow.
    public var renewsNoise = false
    /// How the noise levels of diffusers' tables deviate.
    public var levels = FlowLevelSettings()

    /// The usual form of every solver.
    public init() {}

    /// The form of the terms of second order.
    public enum Form: Sendable, Equatable {
        /// "midpoint" of DPM-Solver++, "bh2" of UniPC.
        case usual
        /// "heun" of DPM-Solver++: the integral of a linear extrapolation.
        case heun
        /// "bh1" of UniPC: B(h) = h.
        case bh1
    }

    /// The largest order of UniPC; DPM-Solver++ has at most 3.
    public static let orders = 1...5
}

/// How a table of noise levels deviates from diffusers' usual one.
public struct FlowLevelSettings: Sendable, Equatable {
    /// How levels are spread between the first and the last one.
    public var spread = Spread.even
    /// The level of the last step, to which the shifted levels are stretched ("shift_terminal").
    public var terminal: Double?
    /// The level after the last step.
    public var end = End.zero
    /// The ends of another spread, as sigma of a sample x0 + sigma noise; nil for the table's own.
    public var bounds = Bounds()

    /// The usual table.
    public init() {}

    /// How levels are spread.
    public enum Spread: Sendable, Equatable {
        /// Evenly, before the shift.
        case even
        /// Evenly in sigma^(1/7) (Karras et al., https://arxiv.org/abs/2206.00364, equation 5).
        case karras
        /// Evenly in log(sigma).
        case exponential
        /// By the quantiles of a beta distribution (https://arxiv.org/abs/2407.12173).
        case beta
    }

    /// The level after the last step.
    public enum End: Sendable, Equatable {
        /// No noise.
        case zero
        /// That of the last step, which then changes nothing.
        case last
        /// A given one.
        case level(Double)
    }

    /// The largest and the smallest level of a spread.
    public struct Bounds: Sendable, Equatable {
        /// The smallest and the largest one; nil for the table's.
        public var lowest, highest: Double?

        /// Those of the table.
        public init() {}
    }
}

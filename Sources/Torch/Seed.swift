/// Seeds derived from their purpose, so that random numbers do not depend on what was drawn before.
///
/// A step's noise is a function of (seed, stage, step): a resumed run needs no generator state.
package enum Seed {
    /// Combines several numbers into one, by the finalizer of SplitMix64
    /// (https://doi.org/10.1145/2714064.2660195).
    package static func mixed(_ parts: UInt64...) -> UInt64 {
        parts.reduce(0x9E37_79B9_7F4A_7C15) { seed, part in
            var z = (seed ^ part) &+ 0x9E37_79B9_7F4A_7C15
            z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
            z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
            return z ^ (z >> 31)
        }
    }

    /// A hash of a text that is the same on every machine (FNV-1a; Swift's own hashes are randomly
    /// seeded).
    package static func named(_ text: String) -> UInt64 {
        text.utf8.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01B3 }
    }
}

import SwanCheckpoints

/// Settings of a running stream that change at its next chunk; `nil` keeps a setting.
///
/// Decodes from JSON, where every key may be missing.
package struct StreamChange: Sendable, Equatable, Decodable {
    /// A prompt and its weight in a mix.
    package struct WeightedPrompt: Sendable, Equatable, Decodable {
        /// The prompt.
        package var text: String
        /// Its weight; the weights of a mix are divided by their sum.
        package var weight: Double

        /// Creates a weighted prompt.
        package init(_ text: String, weight: Double = 1) {
            self.text = text
            self.weight = weight
        }
    }

    /// The prompts to mix; one for a plain prompt.
    package var prompts: [WeightedPrompt]?
    /// The number of chunks over which the old prompt turns into the new one; 0 for at once.
    package var transition = 0
    /// The number of denoising steps.
    package var steps: Int?
    /// How the steps run.
    package var mode: StepMode?
    /// How much noise is mixed into the input, 0 to 1.
    package var noiseScale: Double?
    /// Whether the noise scale ignores motion.
    package var fixedNoise: Bool?
    /// The seed of all random numbers.
    package var seed: UInt64?
    /// How frames with another aspect ratio fit the output.
    package var fit: FrameFit?
    /// The output's size in pixels; with another one, the stream begins anew.
    package var width, height: Int?
    /// Whether the stream forgets its past and begins anew.
    package var resets = false
    /// The number that identifies this change in the frames that it shapes; 0 for none.
    package var event: UInt32 = 0

    /// Creates a change of nothing.
    package init() {}

    private enum CodingKeys: String, CodingKey {
        case prompt, prompts, transition, steps, mode, noiseScale = "noise_scale"
        case fixedNoise = "fixed_noise", seed, fit, width, height, resets = "reset", event
    }

    /// Decodes the keys that are given and checks them.
    package init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        if let prompt = try values.decodeIfPresent(String.self, forKey: .prompt) {
            prompts = [WeightedPrompt(prompt)]
        }
        prompts = try values.decodeIfPresent([WeightedPrompt].self, forKey: .prompts) ?? prompts
        transition = try values.decodeIfPresent(Int.self, forKey: .transition) ?? 0
        steps = try values.decodeIfPresent(Int.self, forKey: .steps)
        mode = try values.decodeIfPresent(StepMode.self, forKey: .mode)
        noiseScale = try values.decodeIfPresent(Double.self, forKey: .noiseScale)
        fixedNoise = try values.decodeIfPresent(Bool.self, forKey: .fixedNoise)
        seed = try values.decodeIfPresent(UInt64.self, forKey: .seed)
        fit = try values.decodeIfPresent(FrameFit.self, forKey: .fit)
        width = try values.decodeIfPresent(Int.self, forKey: .width)
        height = try values.decodeIfPresent(Int.self, forKey: .height)
        resets = try values.decodeIfPresent(Bool.self, forKey: .resets) ?? false
        event = try values.decodeIfPresent(UInt32.self, forKey: .event) ?? 0
        func require(_ holds: Bool, _ key: CodingKeys, _ message: String) throws {
            guard !holds else { return }
            throw DecodingError.dataCorruptedError(
                forKey: key,
                in: values,
                debugDescription: message
            )
        }
        let weights = prompts?.map(\.weight) ?? [1]
        try require(
            (1...8).contains(weights.count) && weights.allSatisfy { (0...1_000).contains($0) }
                && weights.contains { $0 > 0 },
            .prompts,
            "prompts must be 1 to 8 texts with weights from 0 to 1000, of which one is above 0"
        )
        try require((0...1_000).contains(transition), .transition, "must be 0 to 1000 chunks")
        try require(steps.map { $0 >= 1 } ?? true, .steps, "must be at least 1")
        try require((0...1).contains(noiseScale ?? 0), .noiseScale, "must be 0 to 1")
        let sides = 1...FrameSize.largestSide
        try require(sides.contains(width ?? 1), .width, "must be 1 to \(sides.upperBound) pixels")
        try require(sides.contains(height ?? 1), .height, "must be 1 to \(sides.upperBound) pixels")
    }

    /// Returns this change with a newer one added.
    func merged(with newer: StreamChange) -> StreamChange {
        var both = self
        both.merge(newer)
        return both
    }

    /// Adds a newer change, whose settings replace those of this one.
    package mutating func merge(_ newer: StreamChange) {
        if let prompts = newer.prompts {
            self.prompts = prompts
            transition = newer.transition
        }
        steps = newer.steps ?? steps
        mode = newer.mode ?? mode
        noiseScale = newer.noiseScale ?? noiseScale
        fixedNoise = newer.fixedNoise ?? fixedNoise
        seed = newer.seed ?? seed
        fit = newer.fit ?? fit
        (width, height) = (newer.width ?? width, newer.height ?? height)
        resets = newer.resets || resets
        // A change without a number does not take that of another one.
        if newer.event != 0 { event = newer.event }
    }
}

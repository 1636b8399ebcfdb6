import SwanCheckpoints
import SwanSystem

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

        /// The keys in JSON.
        package static var keys: [String] { CodingKeys.allCases.map(\.rawValue) }

        private enum CodingKeys: String, CodingKey, CaseIterable { case text, weight }

        /// Decodes a prompt and its weight, which are both required.
        package init(from decoder: any Decoder) throws {
            let values = try decoder.container(keyedBy: CodingKeys.self)
            text = try values.decode(String.self, forKey: .text)
            weight = try values.decode(.weight, in: 0...1_000)
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

    /// The keys in JSON.
    package static var keys: [String] { CodingKeys.allCases.map(\.rawValue) }

    private enum CodingKeys: String, CodingKey, CaseIterable {
        case prompt, prompts, transition, steps, mode, noiseScale = "noise_scale"
        case fixedNoise = "fixed_noise", seed, fit, width, height, resets = "reset", event
    }

    /// Decodes the keys that are given and checks them.
    package init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        prompts = try Self.prompts(values)
        transition = try values.decodeIfPresent(.transition, in: 0...1_000) ?? 0
        steps = try values.decodeIfPresent(.steps, in: 1...1_000)
        mode = try values.decodeChoiceIfPresent(.mode)
        noiseScale = try values.decodeIfPresent(.noiseScale, in: 0...1)
        fixedNoise = try values.decodeIfPresent(Bool.self, forKey: .fixedNoise)
        seed = try values.decodeIfPresent(.seed, in: 0...UInt64.max)
        fit = try values.decodeChoiceIfPresent(.fit)
        width = try values.decodeIfPresent(.width, in: 1...FrameSize.largestSide)
        height = try values.decodeIfPresent(.height, in: 1...FrameSize.largestSide)
        resets = try values.decodeIfPresent(Bool.self, forKey: .resets) ?? false
        event = try values.decodeIfPresent(.event, in: 0...UInt32.max) ?? 0
    }

    private static func prompts(
        _ values: KeyedDecodingContainer<CodingKeys>
    ) throws -> [WeightedPrompt]? {
        let prompt = try values.decodeIfPresent(String.self, forKey: .prompt)
        let mix = try values.decodeIfPresent([WeightedPrompt].self, forKey: .prompts)
        guard let prompts = mix ?? prompt.map({ [WeightedPrompt($0)] }) else { return nil }
        guard (1...8).contains(prompts.count), prompts.contains(where: { $0.weight > 0 }) else {
            throw DecodingError.dataCorruptedError(
                forKey: .prompts,
                in: values,
                debugDescription: "must be 1 to 8 texts, of which one has a weight above 0"
            )
        }
        return prompts
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

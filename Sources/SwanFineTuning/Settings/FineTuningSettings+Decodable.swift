import SwanSystem
import SwanTraining
import SwanCheckpoints

extension FineTuningSettings.Bucket: Decodable {
    /// Decodes `832x480x81`: width, height and frames of a video in pixels and frames.
    package init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        let numbers = text.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) }
        guard numbers.count == 3, let width = numbers[0], let height = numbers[1],
            let frames = numbers[2], (1...16_384).contains(width), (1...16_384).contains(height),
            (1...100_001).contains(frames), frames % 4 == 1
        else {
            throw DecodingError.dataCorrupted(
                .init(
                    codingPath: decoder.codingPath,
                    debugDescription: "'\(text.printable(limit: 40))' is not WIDTHxHEIGHTxFRAMES, "
                        + "such as 832x480x81, with 4 n + 1 frames"
                )
            )
        }
        (self.width, self.height, self.frames) = (width, height, frames)
    }
}

extension FineTuningSettings.Source {
    private enum CodingKeys: String, CodingKey, CaseIterable { case path, repeats }

    /// Decodes a path alone, or with the number of repeats.
    package init(from decoder: any Decoder) throws {
        if let path = try? decoder.singleValueContainer().decode(String.self) {
            self.init(path: path)
            return
        }
        try decoder.requireKnownKeys(CodingKeys.self)
        let values = try decoder.container(keyedBy: CodingKeys.self)
        self.init(path: try values.decode(String.self, forKey: .path))
        repeats = try values.decodeIfPresent(.repeats, in: 1...10_000) ?? repeats
    }
}

extension FineTuningSettings: Decodable {
    /// Decodes the keys that are given; the errors name them.
    package init(from decoder: any Decoder) throws {
        let all = try decoder.container(keyedBy: AnyCodingKey.self)
        let known = FineTuningKey.allCases.map(\.rawValue)
        for key in all.allKeys where FineTuningKey(stringValue: key.stringValue) == nil {
            throw DecodingError.dataCorrupted(
                .init(
                    codingPath: decoder.codingPath,
                    debugDescription: "unknown key '\(key.stringValue.printable())'"
                        + suggestion(for: key.stringValue, in: known)
                )
            )
        }
        self.init()
        let values = try decoder.container(keyedBy: FineTuningKey.self)
        try readModel(values)
        try readData(values)
        try readTimesteps(values)
        try readOptimizer(values)
        try readPreviews(values)
    }

    private typealias Values = KeyedDecodingContainer<FineTuningKey>

    private mutating func readModel(_ values: Values) throws {
        kind = try values.decodeChoiceIfPresent(.kind) ?? kind
        model = try values.decode(String.self, forKey: .model)
        expert = try values.decodeChoiceIfPresent(.expert) ?? expert
        boundary = try values.decodeIfPresent(.boundary, in: 0.0...1)
        name = try values.decodeIfPresent(String.self, forKey: .name)
        rank = try values.decodeIfPresent(.rank, in: 1...4_096) ?? rank
        alpha = try values.decodeIfPresent(.alpha, in: 1e-6...1e6)
        if let one = try? values.decodeIfPresent(String.self, forKey: .targets) {
            targets = [one]
        } else {
            targets = try values.decodeIfPresent([String].self, forKey: .targets) ?? targets
        }
        format = try values.decodeChoiceIfPresent(.format) ?? format
        framesPerBlock = try values.decodeIfPresent(.framesPerBlock, in: 1...1_000)
        window = try values.decodeIfPresent(.window, in: 1...100_000)
        precision = try values.decodeIfPresent(Precision.self, forKey: .precision) ?? precision
        base = try values.decodeChoiceIfPresent(.base) ?? base
    }

    private mutating func readData(_ values: Values) throws {
        data = try values.decode([Source].self, forKey: .data)
        buckets = try values.decodeIfPresent([Bucket].self, forKey: .buckets) ?? []
        cache = try values.decodeIfPresent(String.self, forKey: .cache)
        heldOut = try values.decodeIfPresent(.heldOut, in: 0...1_000_000) ?? heldOut
        promptDropout =
            try values.decodeIfPresent(.promptDropout, in: 0.0...1) ?? promptDropout
        cleanFirstFrame =
            try values.decodeIfPresent(.cleanFirstFrame, in: 0.0...1) ?? cleanFirstFrame
    }

    private mutating func readTimesteps(_ values: Values) throws {
        let drawn: TimestepSampling.Distribution? =
            try values.decodeChoiceIfPresent(.sampling)
        sampling.distribution = drawn ?? sampling.distribution
        sampling.mean = try values.decodeIfPresent(.mean, in: -100.0...100) ?? sampling.mean
        sampling.deviation =
            try values.decodeIfPresent(.deviation, in: 1e-3...100) ?? sampling.deviation
        sampling.scale = try values.decodeIfPresent(.scale, in: -1.0...1.75) ?? sampling.scale
        shift = try values.decodeIfPresent(.shift, in: 1e-3...1_000)
        let least = try values.decodeIfPresent(.least, in: 0.0...1_000) ?? 0
        let most = try values.decodeIfPresent(.most, in: 0.0...1_000) ?? 1_000
        guard least < most else {
            throw DecodingError.dataCorruptedError(
                forKey: .least,
                in: values,
                debugDescription: "\(least) is not below max_timestep, \(most)"
            )
        }
        sampling.range = least / 1_000...most / 1_000
        weighting = try values.decodeChoiceIfPresent(.weighting) ?? weighting
    }

    private mutating func readOptimizer(_ values: Values) throws {
        checkpointsGradients =
            try values.decodeIfPresent(Bool.self, forKey: .checkpointing) ?? false
        batch = try values.decodeIfPresent(.batch, in: 1...100_000) ?? batch
        accumulation =
            try values.decodeIfPresent(.accumulation, in: 1...100_000) ?? accumulation
        rate = try values.decodeIfPresent(.rate, in: 0.0...1) ?? rate
        warmUp = try values.decodeIfPresent(.warmUp, in: 0...1_000_000_000) ?? warmUp
        decayFrom = try values.decodeIfPresent(.decayFrom, in: 0.0...1) ?? decayFrom
        betas = try values.decodeIfPresent([Double].self, forKey: .betas) ?? betas
        guard betas.count == 2, betas.allSatisfy({ (0..<1).contains($0) }) else {
            throw DecodingError.dataCorruptedError(
                forKey: .betas,
                in: values,
                debugDescription: "must be two numbers of at least 0 and below 1"
            )
        }
        weightDecay = try values.decodeIfPresent(.weightDecay, in: 0.0...100) ?? weightDecay
        maximumNorm = try values.decodeIfPresent(.maximumNorm, in: 1e-9...1e9) ?? maximumNorm
        averageDecay =
            try values.decodeIfPresent(.averageDecay, in: 0.0...0.999_999) ?? averageDecay
        steps = try values.decodeIfPresent(.steps, in: 1...1_000_000_000) ?? steps
        seed = UInt64(try values.decodeIfPresent(.seed, in: 0...Int.max) ?? 0)
        saveEvery = try values.decodeIfPresent(.saveEvery, in: 1...1_000_000_000) ?? saveEvery
        kept = try values.decodeIfPresent(.kept, in: 1...1_000_000) ?? kept
    }

    private mutating func readPreviews(_ values: Values) throws {
        previews.prompts = try values.decodeIfPresent(String.self, forKey: .previewPrompts)
        previews.every =
            try values.decodeIfPresent(.previewEvery, in: 1...1_000_000_000) ?? saveEvery
        previews.size = try values.decodeIfPresent(Bucket.self, forKey: .previewSize)
        previews.steps = try values.decodeIfPresent(.previewSteps, in: 1...1_000)
        previews.seed = UInt64(try values.decodeIfPresent(.previewSeed, in: 0...Int.max) ?? 0)
        previews.input = try values.decodeIfPresent(String.self, forKey: .previewInput)
    }
}

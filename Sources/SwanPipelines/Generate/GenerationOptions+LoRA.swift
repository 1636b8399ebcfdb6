import SwanCheckpoints

extension GenerationOptions.LoRAFile {
    /// The files that this names: a folder may have one for each of two experts.
    func parts(hasExperts: Bool) -> [Self] {
        guard hasExperts, expert == nil, let (high, low) = LoRAFiles.pair(in: path) else {
            return [self]
        }
        return [
            Self(high, strength: strength, expert: .transformer),
            Self(low, strength: strength, expert: .lowNoiseTransformer),
        ]
    }

    /// A message for a file that is applied to both experts although its name says that it is for
    /// one.
    var nameNote: String? {
        guard expert == nil, parts(hasExperts: true).count == 1,
            let isLow = LoRAFiles.isForLowNoise(path)
        else { return nil }
        let name = isLow ? "low" : "high"
        return
            "\(path): is applied to both experts, but its name says that it is for \(name) noise; "
            + "--lora \(name):FILE applies it to that one"
    }
}

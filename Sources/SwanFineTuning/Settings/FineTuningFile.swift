import SwanCheckpoints
package import SwanSystem
import Yams

extension FineTuning {
    /// The file of a fine-tuning.
    package struct File: Sendable {
        package let settings: FineTuningSettings
        /// What the file says, comments included.
        package let text: String

        /// Reads a training file; returns nil if it has no key `fine_tuning`, or if it cannot be
        /// read as YAML.
        ///
        /// - Throws: `invalidRecipe` with the file and the key.
        package init?(_ path: String) throws(SwanError) {
            guard let text = try? SmallFile.text(path), let node = try? StrictYAML.compose(text),
                node.mapping?.keys.contains(where: {
                    $0.string == FineTuningKey.kind.rawValue
                }) ?? false
            else { return nil }
            self.text = text
            settings = try Self.settings(node, path)
        }

        /// Reads the settings that a run began with.
        static func settings(at path: String) throws(SwanError) -> FineTuningSettings {
            guard let file = try File(path) else {
                throw SwanError(.invalidRecipe, "\(path): is not the file of a fine-tuning")
            }
            return file.settings
        }

        private static func settings(
            _ node: Node,
            _ path: String
        ) throws(SwanError) -> FineTuningSettings {
            do {
                let settings = try YAMLDecoder().decode(FineTuningSettings.self, from: node)
                try settings.check()
                return settings
            } catch let error as SwanError {
                throw SwanError(error.code, "\(path): \(error.message)", cause: error)
            } catch {
                throw SwanError(.invalidRecipe, "\(path): \(words(for: error))", cause: error)
            }
        }

        private static func words(for error: any Error) -> String {
            guard let error = error as? DecodingError, let context = error.context else {
                return "\(error)".printable(limit: 500)
            }
            var path = context.codingPath.map(\.stringValue)
            if case .keyNotFound(let key, _) = error {
                return "the key '\((path + [key.stringValue]).joined(separator: "."))' is missing"
            }
            path.append(context.debugDescription)
            return path.joined(separator: ": ").printable(limit: 500)
        }
    }
}

extension FineTuningSettings {
    /// Throws if the settings ask for something impossible.
    func check() throws(SwanError) {
        func require(_ holds: Bool, _ message: String) throws(SwanError) {
            if !holds { throw SwanError(.invalidRecipe, message) }
        }
        try require(!data.isEmpty, "data: names no videos")
        try require(!targets.isEmpty, "targets: names no matrices")
        try require(
            kind == .lora || base == .stored,
            "base_dtype: belongs to fine_tuning: lora; a full one keeps its weights in float32"
        )
        try require(
            Set(buckets).count == buckets.count,
            "buckets: one is given twice"
        )
    }

    /// Throws if settings differ from those that a run began with, except in what may change.
    func requireSame(as begun: FineTuningSettings, in place: String) throws(SwanError) {
        var (now, before) = (self, begun)
        // The schedule of the rate depends on the number of steps only where it decays.
        if decayFrom == 1 { (now.steps, before.steps) = (0, 0) }
        (now.saveEvery, before.saveEvery) = (0, 0)
        (now.kept, before.kept) = (0, 0)
        (now.previews, before.previews) = (Previews(), Previews())
        (now.format, before.format) = (.peft, .peft)
        (now.name, before.name) = (nil, nil)
        (now.cache, before.cache) = (nil, nil)
        guard now == before else {
            throw SwanError(
                .invalidRecipe,
                "the settings differ from those that the run began with, in \(place): continue "
                    + "with that file, or use another folder (keys that may change: max_steps "
                    + "without lr_decay_from, save_*, keep_checkpoints, sample_*, cache_path, name)"
            )
        }
    }
}

import SwanCheckpoints
package import SwanSystem
import Yams

extension Distillation {
    /// The file of a distillation.
    package struct File: Sendable {
        package let settings: DistillationSettings
        /// What the file says, comments included.
        package let text: String

        /// Reads a training file; returns nil if it is a recipe, which has none of the keys that
        /// distinguish a distillation, or if it cannot be read as YAML.
        ///
        /// - Throws: `invalidRecipe` with the file and the key.
        package init?(_ path: String) throws(SwanError) {
            guard let text = try? SmallFile.text(path), Self.isDistillation(text) else {
                return nil
            }
            self.text = text
            settings = try Self.settings(in: text, path)
        }

        static func settings(
            in text: String,
            _ path: String
        ) throws(SwanError) -> DistillationSettings {
            do {
                return try DistillationSettings(yaml: text)
            } catch {
                throw SwanError(error.code, "\(path): \(error.message)", cause: error)
            }
        }

        private static func isDistillation(_ text: String) -> Bool {
            // What is not YAML is reported by the reader of recipes.
            guard let node = try? StrictYAML.compose(text) else { return false }
            let names = Set(node.mapping?.keys.compactMap(\.string) ?? [])
            return [SettingKey.loss, .steps].contains { names.contains($0.rawValue) }
        }
    }
}

import Foundation
package import SwanSystem
import Torch

extension Style {
    /// The key of the look, as JSON, in the metadata of a LoRA.
    static let loraKey = "swan_look"

    /// Text that says exactly what the look is.
    func loraText() throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(self), as: UTF8.self)
    }

    /// The look that a LoRA gives to prompts for no change; it has no phrasings.
    ///
    /// - Throws: `invalidRequest` if the file does not say.
    package init(ofLoRA path: String) throws(SwanError) {
        let text = try SafetensorsFile(path: path).metadata[Self.loraKey]
        do {
            let style = try text.map {
                try JSONDecoder().decode(Style.self, from: Data($0.utf8))
            }
            guard let style else {
                throw SwanError(
                    .invalidRequest,
                    "\(path): does not say which look it gives; only LoRAs of 'swan train' with "
                        + "the key 'look' do"
                )
            }
            self.init(name: style.name, phrasings: [], filters: style.filters)
        } catch let error as SwanError {
            throw error
        } catch {
            throw SwanError(.invalidFile, "\(path): \(Self.loraKey) is not a look", cause: error)
        }
    }
}

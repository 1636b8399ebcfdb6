import Foundation
package import SwanSystem

/// Prompts, one a line.
package struct PromptFile: Sendable {
    /// The prompts, in the order of the file, without empty lines.
    package let prompts: [String]

    /// Reads a file of UTF-8.
    ///
    /// - Throws: `empty` if it has no prompt.
    package init(_ path: String) throws(SwanError) {
        let text = try SmallFile.text(path, atMost: SmallFile.list)
        prompts = text.split(whereSeparator: \.isNewline)
            .map { $0.trimmingCharacters(in: .whitespaces) }
            .filter { !$0.isEmpty }
        guard !prompts.isEmpty else {
            throw SwanError(.empty, "\(path): has no prompts: write one a line")
        }
    }
}

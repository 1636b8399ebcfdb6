import Foundation
import SwanSystem

/// Names in the arguments that have line breaks in them: in a message, one would begin a line that the
/// program did not write.
enum ArgumentNames {
    /// Parts of paths, the longest first, and how they are shown.
    private static let names: [(raw: String, shown: String)] = {
        let parts = CommandLine.arguments.dropFirst().flatMap { $0.split(separator: "/") }
        return Set(parts.map(String.init))
            .filter { $0.contains(where: \.isNewline) && !$0.allSatisfy(\.isWhitespace) }
            .sorted { $0.utf8.count > $1.utf8.count }
            .map { ($0, $0.printable(limit: 4_096)) }
    }()

    /// A text of several lines with these names as they are shown.
    static func escaped(in text: String) -> String {
        names.reduce(text) { text, name in
            text.replacingOccurrences(of: name.raw, with: name.shown, options: .literal)
        }
    }
}

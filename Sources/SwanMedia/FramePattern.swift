import SwanSystem
/// A path with one number in it, such as `out/frame_%05d.png`.
///
/// This type formats the number: a pattern from a user never reaches `printf`.
struct FramePattern: Equatable, Sendable {
    private let before: String
    private let digits: Int
    private let after: String

    /// The pattern `frame_%05d.png` in a directory, or with another ending.
    init(directory: String, ending: String = "png") {
        before = directory + "frame_"
        digits = 5
        after = "." + ending
    }

    /// Parses a pattern with one `%d` or `%05d`; `%%` is a percent sign.
    init(_ pattern: String) throws(SwanError) {
        var parts = [""]
        var digits = 0
        var rest = pattern[...]
        while let percent = rest.firstIndex(of: "%") {
            parts[parts.count - 1] += rest[..<percent]
            rest = rest[percent...].dropFirst()
            if rest.first == "%" {
                parts[parts.count - 1] += "%"
                rest = rest.dropFirst()
                continue
            }
            let width = rest.prefix { $0.isASCII && $0.isNumber }
            rest = rest[width.endIndex...]
            guard rest.first == "d", width.count <= 3, width.isEmpty || width.first == "0" else {
                throw Self.malformed(pattern)
            }
            rest = rest.dropFirst()
            digits = min(Int(width) ?? 0, 20)
            parts.append("")
        }
        parts[parts.count - 1] += rest
        guard parts.count == 2 else { throw Self.malformed(pattern) }
        before = parts[0]
        after = parts[1]
        self.digits = digits
    }

    static func malformed(_ pattern: String) -> SwanError {
        SwanError(
            .unsupported,
            "\(pattern): the name of numbered pictures needs exactly one number, such as out/frame_%05d.png"
        )
    }

    /// The directory of the frames, if the pattern contains one.
    var directory: String? {
        before.lastIndex(of: "/").map { String(before[...$0]) }
    }

    /// The number of the frame with this path; nil if the path does not match the pattern.
    ///
    /// - Parameter first: The lowest number.
    func number(of path: String, from first: Int = 1) -> Int? {
        guard path.hasPrefix(before), path.hasSuffix(after),
            path.utf8.count > before.utf8.count + after.utf8.count,
            let number = Int(path.dropFirst(before.count).dropLast(after.count)), number >= first,
            self.path(number) == path
        else { return nil }
        return number
    }

    /// The path of one frame.
    func path(_ number: Int) -> String {
        let written = String(number)
        return before + String(repeating: "0", count: max(0, digits - written.count)) + written
            + after
    }
}

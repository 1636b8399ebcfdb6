import Foundation
import SwanSystem

/// Paths of files that a server names, which are untrusted.
enum HubPath {
    /// The names that are devices on some systems, whatever follows a dot.
    private static let devices: Set<String> = [
        "con", "prn", "aux", "nul", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8",
        "com9", "lpt1", "lpt2", "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9",
    ]

    /// Throws unless a path leads to a file below the folder that it is relative to, on any system.
    ///
    /// - Parameter origin: Where the path is from, for the message.
    static func check(_ path: String, of origin: String) throws(SwanError) {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        let problem: String? =
            if path.isEmpty {
                "it is empty"
            } else if path.utf8.count > 1_024 {
                "it is longer than 1024 bytes"
            } else if path.unicodeScalars.contains(where: { $0.value < 0x20 || $0.value == 0x7F }) {
                "it contains a control character"
            } else if path.contains("\\") {
                "it contains a backslash"
            } else if path.hasPrefix("/") || path.wholeMatch(of: /[A-Za-z]:.*/) != nil {
                "it is absolute"
            } else if parts.contains(where: { $0.isEmpty || $0 == "." || $0 == ".." }) {
                "it leads out of its folder, or has an empty part"
            } else if parts.contains(where: { $0.utf8.count > 255 }) {
                "a name in it is longer than 255 bytes"
            } else if parts.contains(where: { devices.contains(stem($0)) }) {
                "it is the name of a device"
            } else if path != path.printable(limit: 1_024) {
                "it contains characters that change how text is displayed"
            } else {
                nil
            }
        guard let problem else { return }
        throw SwanError(
            .invalidData,
            "\(origin): offers a file under the name '\(path.printable())', which is refused: "
                + problem
        )
    }

    private static func stem(_ name: Substring) -> String {
        name.prefix { $0 != "." }.lowercased().trimmingCharacters(in: .whitespaces)
    }

    /// A file's name without what a server may have put into it; nil if nothing remains.
    static func name(offered text: String) -> String? {
        let last = text.split { $0 == "/" || $0 == "\\" }.last.map(String.init) ?? ""
        do {
            try check(last, of: "")
            return last.hasPrefix(".") ? nil : last
        } catch {
            return nil
        }
    }

    /// A path or revision as part of a URL.
    static func encoded(_ text: String, keepingSlashes: Bool) -> String {
        var allowed = CharacterSet(charactersIn: "-._~")
        allowed.insert(charactersIn: "a"..."z")
        allowed.insert(charactersIn: "A"..."Z")
        allowed.insert(charactersIn: "0"..."9")
        if keepingSlashes { allowed.insert("/") }
        return text.addingPercentEncoding(withAllowedCharacters: allowed) ?? text
    }
}

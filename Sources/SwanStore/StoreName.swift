/// Names of models, and the folders that they have in a store.
package enum StoreName {
    /// The longest name of a model.
    package static let longest = 180

    /// The folder of a model: lowercase letters, digits, dots, hyphens and underscores. Names that
    /// differ in more than case have different folders.
    package static func folder(_ name: String) -> String {
        var text = ""
        var isExact = true
        for scalar in name.lowercased().unicodeScalars {
            switch scalar {
            case "a"..."z", "0"..."9", "-", "_", ".": text.unicodeScalars.append(scalar)
            case "/": text += "--"
            default:
                text += "_"
                isExact = false
            }
        }
        // No folder, or a hidden one.
        if text.isEmpty || text.hasPrefix(".") { (text, isExact) = ("_" + text, false) }
        if name.contains("--") || text.utf8.count > 160 { isExact = false }
        return isExact ? text : text.prefix(160) + "-" + hash(name.lowercased())
    }

    /// The 64-bit FNV-1a hash, in hexadecimal.
    private static func hash(_ text: String) -> String {
        let value = text.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { hash, byte in
            (hash ^ UInt64(byte)) &* 0x100_0000_01b3
        }
        return String(value, radix: 16)
    }
}

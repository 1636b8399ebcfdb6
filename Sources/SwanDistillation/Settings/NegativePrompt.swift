import Foundation
import SwanCheckpoints
import SwanSystem

/// A negative prompt as it was meant.
///
/// Copies of the references' files have Chinese text that was read as Windows-1252 instead of
/// UTF-8, which drops some bytes.
struct NegativePrompt {
    let text: String
    /// What was done to it; nil for nothing.
    let note: String?

    init(_ given: String) {
        let recovered = Self.recovered(given)
        guard let recovered else {
            (text, note) = (given, nil)
            return
        }
        if !recovered.unicodeScalars.contains("\u{FFFD}") {
            text = recovered
            note = "was UTF-8 read as Windows-1252; read as \"\(recovered.prefix(8))…\""
        } else {
            text = WanVariant.Defaults.ownNegativePrompt
            note = "is damaged (UTF-8 read as Windows-1252, bytes lost); Wan's own is used instead"
        }
    }

    /// The text that the bytes of a misread one say, with marks for those that are lost; nil if the
    /// text was not misread.
    private static func recovered(_ given: String) -> String? {
        let isForeign = given.unicodeScalars.contains { $0.value >= 0x3000 }
        guard !isForeign, given.unicodeScalars.contains(where: { $0.value >= 0xC0 }) else {
            return nil
        }
        var bytes: [UInt8] = []
        for character in given.unicodeScalars {
            // Windows-1252 has no letter for five bytes, which some readers pass through.
            if character.value < 0x100 {
                bytes.append(UInt8(character.value))
            } else if let byte = String(character).data(using: .windowsCP1252)?.first {
                bytes.append(byte)
            } else {
                return nil
            }
        }
        let text = String(decoding: bytes, as: UTF8.self)
        let chinese = text.unicodeScalars.filter { 0x4E00...0x9FFF ~= $0.value }.count
        return chinese >= 3 ? text : nil
    }
}

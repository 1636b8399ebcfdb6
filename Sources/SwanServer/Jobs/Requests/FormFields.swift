import Foundation
import SwanHTTP
import SwanSystem

/// Turns the fields of a form, which are all texts, into the JSON that a client would send otherwise.
///
/// `settings` and `prompt_at` are JSON, or members such as `settings[steps]`.
enum FormFields {
    private static let numbers: Set<String> = ["fps", "max_frames", "control_scale"]
    private static let structures: Set<String> = ["settings", "prompt_at"]
    /// The settings that are texts, even if they look like numbers.
    private static let texts: Set<String> = ["negative_prompt", "fit", "solver", "schedule"]

    static func json(_ fields: [(name: String, value: String)]) throws -> Data {
        var object: [String: Any] = [:]
        var settings: [String: Any] = [:]
        for (name, value) in fields {
            if let member = member(of: "settings", name) {
                guard settings[member] == nil else { throw repeated(name) }
                settings[member] = texts.contains(member) ? value : parsed(value) ?? value
                continue
            }
            guard object[name] == nil else { throw repeated(name) }
            if numbers.contains(name) || structures.contains(name) {
                guard let parsed = parsed(value) else {
                    throw APIError.invalid(name.printable(limit: 80), "must be valid JSON")
                }
                object[name] = parsed
            } else {
                object[name] = value
            }
        }
        if !settings.isEmpty {
            guard object["settings"] == nil else { throw repeated("settings") }
            object["settings"] = settings
        }
        return try JSONSerialization.data(withJSONObject: object)
    }

    /// `steps` for `settings[steps]`.
    private static func member(of object: String, _ name: String) -> String? {
        guard name.hasPrefix(object + "["), name.hasSuffix("]") else { return nil }
        return String(name.dropFirst(object.count + 1).dropLast())
    }

    private static func parsed(_ text: String) -> Any? {
        try? JSONSerialization.jsonObject(with: Data(text.utf8), options: .fragmentsAllowed)
    }

    private static func repeated(_ name: String) -> APIError {
        APIError.invalid(name.printable(limit: 80), "is given twice")
    }
}

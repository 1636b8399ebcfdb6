import ArgumentParser
import Foundation

/// A prompt and where it starts: `120=TEXT` for a frame, `2.5s=TEXT`, `1m30s=TEXT` or `00:01:30=TEXT` for a time.
struct PromptChange: ExpressibleByArgument {
    enum Position: Hashable {
        case frame(Int)
        case seconds(Double)
    }

    let position: Position
    let text: String

    init?(argument: String) {
        guard let equals = argument.firstIndex(of: "="),
            let position = Self.position(String(argument[..<equals]))
        else { return nil }
        self.position = position
        text = String(argument[equals...].dropFirst())
    }

    private static func position(_ text: String) -> Position? {
        if let frame = Int(text) { return frame >= 0 ? .frame(frame) : nil }
        guard let seconds = clock(text) ?? units(text), seconds.isFinite else { return nil }
        return .seconds(seconds)
    }

    /// `1:30`, `00:01:30` or `1:30.5`.
    private static func clock(_ text: String) -> Double? {
        guard let match = text.wholeMatch(of: /(?:(\d+):)?(\d+):(\d+(?:\.\d+)?)/) else {
            return nil
        }
        guard let minutes = Double(match.2), let seconds = Double(match.3), seconds < 60 else {
            return nil
        }
        guard let hours = match.1 else { return minutes * 60 + seconds }
        guard let hours = Double(hours), minutes < 60 else { return nil }
        return hours * 3_600 + minutes * 60 + seconds
    }

    /// `2s`, `2.5s`, `500ms`, `1m30s` or `1h2m3s`.
    private static func units(_ text: String) -> Double? {
        if let match = text.wholeMatch(of: /(\d+(?:\.\d+)?)ms/) {
            return Double(match.1).map { $0 / 1_000 }
        }
        let pattern = /(?:(\d+)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?/
        guard !text.isEmpty, let match = text.wholeMatch(of: pattern) else { return nil }
        let parts = [match.1, match.2, match.3].map { $0.flatMap { Double($0) } ?? 0 }
        return parts[0] * 3_600 + parts[1] * 60 + parts[2]
    }
}

import ArgumentParser
import Foundation
import SwanMedia
import SwanPipelines
import SwanSystem

/// The options of `swan stream` for live sources and receivers.
struct LiveOptions: ParsableArguments {
    @Flag(
        help: """
            Show the result in a window: 1 to 9 choose a style of the model, space pauses, q or Esc ends.
            """
    )
    var show = false

    @Flag(
        help: "Treat an input from a file or a pipe as live: drop frames instead of falling behind."
    )
    var live = false

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Try this long to connect to a live input, and to connect again when it is lost.",
            valueName: "seconds"
        )
    )
    var reconnect: Double?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "The bit rate for a live receiver, such as 800k or 2.5M; the default follows from the size.",
            valueName: "rate"
        )
    )
    var bitrate: BitRate?

    @Option(
        help:
            "The speed of the encoder for a live receiver (veryfast): faster needs less time, and more bits."
    )
    var preset: LivePreset?

    /// A request with these options.
    func applied(to request: LiveStreamRequest) -> LiveStreamRequest {
        var request = request
        request.showsWindow = show
        request.isLive = live
        request.reconnectSeconds = reconnect
        request.sending.bitRate = bitrate?.bitsPerSecond
        request.sending.preset = (preset ?? .veryfast).rawValue
        return request
    }

    /// Throws if an option is given that means nothing for a stream from a file to a file.
    func requireNone() throws(SwanError) {
        let options = [
            ("--reconnect", reconnect != nil), ("--bitrate", bitrate != nil),
            ("--preset", preset != nil),
        ]
        guard let given = options.first(where: \.1)?.0 else { return }
        throw SwanError(
            .invalidRequest,
            "\(given) is for live inputs and receivers; this stream goes from a file to a file"
        )
    }
}

/// libx264's presets that are fast enough for live video.
enum LivePreset: String, ExpressibleByArgument, CaseIterable {
    case ultrafast, superfast, veryfast, faster, fast, medium
}

/// A bit rate: a number with `k` or `M`, or bits per second.
struct BitRate: ExpressibleByArgument {
    let bitsPerSecond: Int

    init?(argument: String) {
        guard let match = argument.wholeMatch(of: /([0-9]+(?:\.[0-9]+)?)([kKmM]?)/),
            let number = Double(match.1)
        else { return nil }
        let factor: Double =
            switch match.2.lowercased() {
            case "k": 1e3
            case "m": 1e6
            default: 1
            }
        guard let bits = Int(exactly: (number * factor).rounded()) else { return nil }
        bitsPerSecond = bits
    }
}

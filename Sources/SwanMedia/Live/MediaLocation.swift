public import SwanSystem

/// Where a video comes from or goes to, by its name on the command line.
///
/// A file is what is no device, screen or URL; `./` before a name makes it a file in any case.
public enum MediaLocation: Sendable, Hashable {
    /// A file, a pipe, or `-`.
    case file(String)
    /// A video device such as `/dev/video0`.
    case device(VideoDevice)
    /// An X11 screen or a region of it: `screen:`.
    case screen(ScreenRegion)
    /// A URL, such as `rtsp://camera/stream`.
    case network(NetworkAddress)

    /// Parses a name. Throws `invalidRequest` for an unknown URL scheme or a malformed region.
    public init(_ name: String) throws(SwanError) {
        if let device = try VideoDevice(name: name) {
            self = .device(device)
        } else if let region = try ScreenRegion(name: name) {
            self = .screen(region)
        } else if let address = try NetworkAddress(name: name) {
            self = .network(address)
        } else {
            self = .file(name)
        }
    }

    /// Whether it is a device, a screen or a network address, which have no end and do not wait.
    public var isLive: Bool {
        if case .file = self { return false }
        return true
    }

    /// The name in messages, without passwords and keys.
    public var description: String {
        switch self {
        case .file(let path): path == "-" ? "standard input" : path
        case .device(let device): device.path
        case .screen(let region): region.description
        case .network(let address): address.description
        }
    }
}

/// A video device, with the size and pixel format to ask it for: `/dev/video0?size=1280x720&format=mjpeg`.
public struct VideoDevice: Sendable, Hashable {
    /// The path, such as `/dev/video0`.
    public let path: String
    /// The size to ask for, such as `1280x720`; `nil` for the device's current one.
    public let size: String?
    /// FFmpeg's name of the pixel format or codec to ask for, such as `mjpeg` or `yuyv422`.
    public let format: String?

    /// Parses a name; `nil` if it is no video device.
    init?(name: String) throws(SwanError) {
        let parts = name.split(separator: "?", maxSplits: 1)
        guard let path = parts.first,
            path.wholeMatch(of: /\/dev\/(video[0-9]+|v4l\/by-[^\/]+\/[^\/]+)/) != nil
        else { return nil }
        var (size, format): (String?, String?)
        for setting in parts.dropFirst().joined().split(separator: "&") {
            let pair = setting.split(separator: "=", maxSplits: 1).map(String.init)
            switch pair.first {
            case "size" where pair.count == 2 && pair[1].wholeMatch(of: /[0-9]+x[0-9]+/) != nil:
                size = pair[1]
            case "format" where pair.count == 2 && pair[1].wholeMatch(of: /[a-z0-9]+/) != nil:
                format = pair[1]
            default:
                throw SwanError(
                    .invalidRequest,
                    "\(name): '\(setting)' is not a setting of a camera; use size=1280x720 or format=mjpeg"
                )
            }
        }
        (self.path, self.size, self.format) = (String(path), size, format)
    }
}

/// A region of an X11 screen: `screen:[DISPLAY][/WIDTHxHEIGHT[+X+Y]]`.
public struct ScreenRegion: Sendable, Hashable, CustomStringConvertible {
    /// The X display, such as `:0.0`; `nil` for the one that `DISPLAY` names.
    public let display: String?
    /// The size, such as `640x480`; `nil` for the whole screen.
    public let size: String?
    /// The position of the region's upper left corner in pixels.
    public let x, y: Int

    /// Parses a name; `nil` if it does not begin with `screen:`.
    init?(name: String) throws(SwanError) {
        guard name.hasPrefix("screen:") else { return nil }
        let pattern = /screen:([^\/]+)?(?:\/([0-9]+x[0-9]+)(?:\+([0-9]+)\+([0-9]+))?)?/
        guard let match = name.wholeMatch(of: pattern) else {
            throw SwanError(
                .invalidRequest,
                """
                \(name): is not a screen; use screen: for the whole one, screen:/640x480+10+20 for a \
                region of 640x480 pixels at (10, 20), or screen::1.0 for another X display
                """
            )
        }
        display = match.1.map(String.init)
        size = match.2.map(String.init)
        x = match.3.flatMap { Int($0) } ?? 0
        y = match.4.flatMap { Int($0) } ?? 0
    }

    /// The name, as it is parsed.
    public var description: String {
        let region = size.map { "/\($0)" + (x == 0 && y == 0 ? "" : "+\(x)+\(y)") }
        return "screen:\(display ?? "")\(region ?? "")"
    }

    /// FFmpeg's name, for `display` where the region names none.
    func grabbed(from display: String) -> String { "\(self.display ?? display)+\(x),\(y)" }
}

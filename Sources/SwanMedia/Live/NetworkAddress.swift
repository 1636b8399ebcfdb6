import SwanSystem

/// A URL that video comes from or is sent to.
public struct NetworkAddress: Sendable, Hashable, CustomStringConvertible {
    /// The URL for FFmpeg, without `?listen` where FFmpeg has an option for it.
    let url: String
    /// The kind of URL.
    let scheme: NetworkScheme
    /// Whether Swan waits for the other side to connect.
    public let isListening: Bool
    /// The URL without user, password, key and query, for messages.
    public let description: String

    /// Whether video arrives as fast as the network allows, as segments of HLS do, and not as it was recorded.
    package var comesInBursts: Bool { scheme.comesInBursts }

    /// Whether a source waits for a sender, however long that takes.
    package var waitsForSender: Bool { isListening || scheme.name == "udp" }

    /// Parses a name; `nil` if it is no URL.
    init?(name: String) throws(SwanError) {
        guard let match = name.wholeMatch(of: /([A-Za-z][A-Za-z0-9+.\-]*):\/\/(.*)/) else {
            return nil
        }
        let named = match.1.lowercased()
        guard let scheme = NetworkScheme.all.first(where: { $0.name == named }) else {
            throw SwanError(
                .invalidRequest,
                """
                \(match.1)://: Swan does not know this kind of URL; known are \
                \(NetworkScheme.all.map { $0.name + "://" }.joined(separator: ", ")); \
                write ./ before the name of a file
                """
            )
        }
        let parts = URLParts(match.2)
        let shown =
            "\(named)://\(parts.host)\(scheme.hidesPath ? parts.hiddenPath : String(parts.path))"
        guard !scheme.needsPort || parts.hasPort else {
            throw SwanError(.invalidRequest, "\(shown): has no port; write \(named)://HOST:PORT")
        }
        let query = parts.query.split(separator: "&")
        let isAsked = query.contains { $0 == "listen" || $0 == "listen=1" }
        if isAsked, scheme.listening == nil {
            throw SwanError(
                .invalidRequest,
                "\(shown): Swan cannot listen on \(named)://; listen with "
                    + NetworkScheme.all.filter { $0.listening != nil }.map { $0.name + "://" }
                    .joined(separator: ", ")
            )
        }
        // Where FFmpeg has an option for listening, the query belongs to the sender.
        let rest = query.filter { !isAsked || ($0 != "listen" && $0 != "listen=1") }
        let kept = scheme.listening == .query && isAsked ? rest + ["listen=1"] : rest
        let added = scheme.listening == .mode && isAsked ? kept + ["mode=listener"] : kept
        url =
            "\(named)://\(parts.authority)\(parts.path)"
            + (added.isEmpty ? "" : "?" + added.joined(separator: "&"))
        self.scheme = scheme
        isListening = isAsked || query.contains("mode=listener")
        description = shown
    }
}

/// The parts of a URL after its scheme.
private struct URLParts {
    let authority, path, query: Substring
    /// The authority without user and password.
    let host: Substring

    init(_ text: Substring) {
        let end = text.firstIndex { $0 == "/" || $0 == "?" || $0 == "#" } ?? text.endIndex
        authority = text[..<end]
        let mark = text[end...].firstIndex(of: "?")
        path = text[end..<(mark ?? text.endIndex)]
        query = mark.map { text[$0...].dropFirst() } ?? ""
        host = authority.split(separator: "@", omittingEmptySubsequences: false).last ?? ""
    }

    var hasPort: Bool { host.wholeMatch(of: /(\[.*\]|[^:]*):[0-9]+/) != nil }

    /// The path with its last part, which is a key, hidden.
    var hiddenPath: String {
        let parts = path.split(separator: "/")
        guard parts.count > 1 else { return String(path) }
        return "/" + parts.dropLast().joined(separator: "/") + "/…"
    }
}

/// A kind of URL: what FFmpeg may use for it.
struct NetworkScheme: Sendable, Hashable {
    /// How FFmpeg is told to wait for the other side.
    enum Listening: Sendable, Hashable {
        /// By the URL's query.
        case query
        /// By SRT's query, `mode=listener`.
        case mode
        /// By an option of its own for sources, and one for receivers.
        case option(source: String, receiver: String?)
    }

    let name: String
    /// The containers that a source may have.
    let formats: String
    /// The protocols that FFmpeg may use.
    let protocols: String
    /// The protocols that a URL may name, also one in a playlist; `nil` for the scheme itself.
    var named: String?
    /// The container for sending; `nil` if nothing can be sent.
    var sentFormat: String?
    var listening: Listening?
    var needsPort = false
    /// Whether the path ends with a key.
    var hidesPath = false
    /// Whether a source is read as fast as it comes, in bursts, and not as it was recorded.
    var comesInBursts = false
    /// FFmpeg's options for sources and for receivers.
    var sourceSettings: [String] = []
    var receiverSettings: [String] = []

    /// Containers that hold everything themselves.
    private static let plain =
        "mpegts,flv,live_flv,matroska,webm,mov,mp4,ogg,h264,hevc,mjpeg,mpjpeg,"
        + "yuv4mpegpipe,ivf,nut"
    /// What HLS segments may be in, and HLS itself. Playlists name only what HTTP serves.
    private static let web = plain + ",hls,applehttp,aac,mp3,webvtt"

    static let all: [NetworkScheme] = [
        NetworkScheme(
            name: "rtsp",
            formats: "rtsp",
            protocols: "rtsp,rtp,udp,tcp",
            sentFormat: "rtsp",
            listening: .option(source: "rtsp_flags=listen", receiver: nil),
            // UDP loses packets where TCP does not, and few cameras refuse TCP.
            sourceSettings: ["rtsp_flags=prefer_tcp"],
            receiverSettings: ["rtsp_transport=tcp"]
        ),
        NetworkScheme(
            name: "rtmp",
            formats: "flv,live_flv",
            protocols: "rtmp,tcp",
            sentFormat: "flv",
            listening: .option(source: "listen=1", receiver: "listen=1"),
            hidesPath: true,
            receiverSettings: ["flvflags=no_duration_filesize"]
        ),
        NetworkScheme(
            name: "rtmps",
            formats: "flv,live_flv",
            protocols: "rtmps,tls,tcp",
            sentFormat: "flv",
            hidesPath: true,
            receiverSettings: ["flvflags=no_duration_filesize", "tls_verify=1"]
        ),
        NetworkScheme(
            name: "srt",
            formats: "mpegts",
            protocols: "srt",
            sentFormat: "mpegts",
            listening: .mode,
            needsPort: true
        ),
        NetworkScheme(
            name: "udp",
            formats: "mpegts",
            protocols: "udp",
            sentFormat: "mpegts",
            needsPort: true,
            // A full buffer drops packets instead of ending the stream.
            sourceSettings: ["overrun_nonfatal=1"],
            // Seven packets of MPEG-TS fit into a frame of Ethernet.
            receiverSettings: ["pkt_size=1316"]
        ),
        NetworkScheme(
            name: "tcp",
            formats: plain,
            protocols: "tcp",
            sentFormat: "mpegts",
            listening: .query,
            needsPort: true
        ),
        NetworkScheme(
            name: "http",
            formats: web,
            protocols: "http,https,tls,tcp,crypto,httpproxy",
            named: "http,https",
            comesInBursts: true
        ),
        NetworkScheme(
            name: "https",
            formats: web,
            protocols: "http,https,tls,tcp,crypto,httpproxy",
            named: "http,https",
            comesInBursts: true
        ),
    ]
}
